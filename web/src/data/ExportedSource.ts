import type {
  Anatomy,
  Distribution,
  Explanation,
  ModelSummary,
  Sampling,
  Step,
  TraceState,
} from "../protocol/schema.generated";
import { isAbort } from "./fetchFromServer";
import { MatrixReader, MissingError } from "./MatrixReader";
import type { CellReference, Selection, Source, StoreAddress } from "./Source";

/** `data/recording.json` of an export; written by `glassformer/export.py`. */
export interface ExportedRecording {
  model: ModelSummary;
  prompt: string;
  recording: TraceState;
  steps: Step[];
  weights: "none" | "coarse" | "full";
}

/** `data/rotary.json`: which table each block turns its queries and keys by. */
interface RotaryTables {
  blocks: (number | null)[];
  tables: { cos: number[][]; sin: number[][] }[];
}

const NEEDS_WEIGHTS = "How this cell was computed needs the weights, which were left out of this export.";
const NEEDS_MODEL = "How this cell was computed is told by a running Glassformer alone.";

/** Answers from the files of an export, beside the page. Throws MissingError for one that is not there or not whole. */
export class ExportedSource implements Source {
  readonly #base: URL;
  readonly #reader = new MatrixReader(this);
  readonly #known = new Map<string, Promise<unknown>>();
  #weights: ExportedRecording["weights"] = "none";

  constructor(base: URL) {
    this.#base = base;
  }

  async readAnatomy(): Promise<Anatomy> {
    const anatomy = await this.#readOnce<Anatomy>("anatomy.json");
    if (!Array.isArray(anatomy.blocks)) throw new MissingError("anatomy.json is not an anatomy");
    return anatomy;
  }

  async readRecording(): Promise<ExportedRecording> {
    const found = await this.#readOnce<ExportedRecording>("recording.json");
    if (!Array.isArray(found.recording?.tokens)) throw new MissingError("recording.json is not a recording");
    this.#weights = found.weights;
    return found;
  }

  /** The distribution as it was recorded: no other sampling can be asked for without a server. */
  readDistribution(
    _traceId: string,
    position: number,
    _sampling: Sampling,
    signal?: AbortSignal,
  ): Promise<Distribution> {
    return this.#readJson(`distributions/${position}.json`, signal);
  }

  /** Computed here from the recording and the weights, where those are there in full. */
  async explain(_traceId: string, cell: CellReference, signal?: AbortSignal): Promise<Explanation> {
    const [{ explainCell, NotFollowedError }, anatomy, { recording }] = await Promise.all([
      import("./explainCell"),
      this.readAnatomy(),
      this.readRecording(),
    ]);
    const sites = [...anatomy.before, ...anatomy.blocks.flatMap((block) => block.sites), ...anatomy.after];
    const site = sites.find((each) => each.address === cell.address);
    if (!site) throw new Error(`There is no site ${cell.address}.`);
    const { positions, model_id: modelId, id: traceId } = recording;
    const waiting = signal ?? new AbortController().signal;
    const read = async (store: StoreAddress, name: string, selection: Selection) => {
      const values = this.holds(store) ? await this.#reader.readCells(store, name, selection, waiting) : null;
      if (!values) throw new NotFollowedError(name);
      return values;
    };
    try {
      const explanation = await explainCell(anatomy, site, [...cell.index], {
        tokenIds: recording.tokens.map((token) => token.id),
        positions,
        readSite: (name, selection) => read({ kind: "recording", traceId, positions }, name, selection),
        readWeight: (name, selection) => read({ kind: "weights", modelId }, name, selection),
        readRotary: async (block) => {
          const { blocks, tables } = await this.#readOnce<RotaryTables>("rotary.json");
          const table = blocks[block];
          return table == null ? null : (tables[table] ?? null);
        },
      });
      const rebuilt_difference = recording.rebuilt_difference ?? null;
      const isRebuilt = explanation.provenance === "recorded" && rebuilt_difference !== null;
      return {
        ...explanation,
        batched_difference: recording.batched_difference,
        ...(isRebuilt && { provenance: "rebuilt" as const, rebuilt_difference }),
      };
    } catch (error) {
      if (!(error instanceof NotFollowedError)) throw error;
      throw new Error(this.#weights === "full" ? NEEDS_MODEL : NEEDS_WEIGHTS, { cause: error });
    }
  }

  holds(store: StoreAddress): boolean {
    return store.kind === "recording" || this.#weights !== "none";
  }

  storeUrl(store: StoreAddress): URL {
    return new URL(store.kind === "recording" ? "recording.zarr" : "weights.zarr", this.#base);
  }

  async fetchKey(request: Request): Promise<Response> {
    return this.#fetch(request);
  }

  #readOnce<T>(path: string): Promise<T> {
    const known = this.#known.get(path) ?? this.#readJson<T>(path);
    this.#known.set(path, known);
    return known as Promise<T>;
  }

  async #readJson<T>(path: string, signal?: AbortSignal): Promise<T> {
    const response = await this.#fetch(new URL(path, this.#base), signal);
    try {
      return (await response.json()) as T;
    } catch (error) {
      if (isAbort(error)) throw error;
      throw new MissingError(`${path} is cut off or damaged`, { cause: error });
    }
  }

  async #fetch(target: URL | Request, signal?: AbortSignal): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(target, signal ? { signal } : {});
    } catch (error) {
      if (isAbort(error)) throw error;
      throw new MissingError(`${this.#nameOf(target)} cannot be read`, { cause: error });
    }
    if (response.ok) return response;
    throw new MissingError(`${this.#nameOf(target)} is missing`);
  }

  #nameOf(target: URL | Request): string {
    const url = target instanceof URL ? target.href : target.url;
    return url.replace(this.#base.href, "");
  }
}
