import i18next from "i18next";
import type {
  Anatomy,
  Distribution,
  Effects,
  Explanation,
  Heads,
  ModelSummary,
  Reading,
  Sampling,
  Step,
  TraceState,
} from "../protocol/schema.generated";
import type { ExportFiles } from "./exportFiles";
import { isAbort } from "./fetchFromServer";
import { MatrixReader, MissingError } from "./MatrixReader";
import type { CellReference, DecisionReference, Selection, Source, StoreAddress } from "./Source";

/** `data/recording.json` of an export; written by `glassformer/export/answers.py`. */
export interface ExportedRecording {
  model: ModelSummary;
  prompt: string;
  recording: TraceState;
  steps: Step[];
  weights: "none" | "coarse" | "full";
  /** Positions whose readings and effects are there, above the average word; an older export has none. */
  readings?: number[];
  /** Whether the scores of all heads are there; an older export has none. */
  heads?: boolean;
}

/** `data/rotary.json`: which table each block turns its queries and keys by. */
interface RotaryTables {
  blocks: (number | null)[];
  tables: { cos: number[][]; sin: number[][] }[];
}

/** Answers from the files of an export, beside the page or in it. Throws MissingError for one that is not there or not whole. */
export class ExportedSource implements Source {
  readonly #files: ExportFiles;
  readonly #reader = new MatrixReader(this);
  readonly #known = new Map<string, Promise<unknown>>();
  #weights: ExportedRecording["weights"] = "none";

  constructor(files: ExportFiles) {
    this.#files = files;
  }

  async readAnatomy(): Promise<Anatomy> {
    const anatomy = await this.#readOnce<Anatomy>("anatomy.json");
    if (!Array.isArray(anatomy.blocks))
      throw new MissingError(i18next.t("files.noAnatomy", { file: "anatomy.json" }));
    return anatomy;
  }

  async readRecording(): Promise<ExportedRecording> {
    const found = await this.#readOnce<ExportedRecording>("recording.json");
    if (!Array.isArray(found.recording?.tokens))
      throw new MissingError(i18next.t("files.noRecording", { file: "recording.json" }));
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

  async readReading(decision: DecisionReference, signal?: AbortSignal): Promise<Reading | null> {
    return (await this.#holdsDecision(decision))
      ? this.#readJson(`readings/${decision.position}.json`, signal)
      : null;
  }

  /** All that was tested, whatever piece of it is asked for: it is one file. */
  async readEffects(decision: DecisionReference): Promise<Effects | null> {
    return (await this.#holdsDecision(decision)) ? this.#readOnce(`effects/${decision.position}.json`) : null;
  }

  async #holdsDecision({ position, versus }: DecisionReference): Promise<boolean> {
    const { readings = [] } = await this.readRecording();
    return versus === "mean" && readings.includes(position);
  }

  /** Of these blocks, first and last as `0-9`: all are one file. Null for an export that has none. */
  async readHeads(_traceId: string, blocks: string): Promise<Heads | null> {
    const { heads } = await this.readRecording();
    if (!heads) return null;
    const all = await this.#readOnce<Heads>("heads.json");
    const [first = 0, last = first] = blocks.split("-").map(Number);
    const isAsked = ({ block }: { block: number }) => block >= first && block <= last;
    return { ...all, blocks: all.blocks.filter(isAsked), refused: (all.refused ?? []).filter(isAsked) };
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
    if (!site) throw new Error(i18next.t("files.noSite", { address: cell.address }));
    const { positions, model_id: modelId, id: traceId } = recording;
    const waiting = signal ?? new AbortController().signal;
    const read = async (store: StoreAddress, name: string, selection: Selection) => {
      const values = this.holds(store) ? await this.#reader.readCells(store, name, selection, waiting) : null;
      if (!values) throw new NotFollowedError(name);
      return values;
    };
    const own: StoreAddress = { kind: "recording", traceId, positions };
    if (!(await this.#reader.readCells(own, site.address, [...cell.index], waiting)))
      throw new Error(i18next.t("exported.needsCells"));
    try {
      const explanation = await explainCell(anatomy, site, [...cell.index], {
        tokenIds: recording.tokens.map((token) => token.id),
        positions,
        readSite: (name, selection) => read(own, name, selection),
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
      throw new Error(
        this.#weights === "full" ? i18next.t("exported.needsModel") : i18next.t("exported.needsWeights"),
        { cause: error },
      );
    }
  }

  holds(store: StoreAddress): boolean {
    return store.kind === "recording" || this.#weights !== "none";
  }

  storeUrl(store: StoreAddress): URL {
    return new URL(store.kind === "recording" ? "recording.zarr" : "weights.zarr", this.#files.base);
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
    const response = await this.#fetch(new URL(path, this.#files.base), signal);
    try {
      return (await response.json()) as T;
    } catch (error) {
      if (isAbort(error)) throw error;
      throw new MissingError(i18next.t("files.damaged", { file: path }), { cause: error });
    }
  }

  async #fetch(target: URL | Request, signal?: AbortSignal): Promise<Response> {
    let response: Response;
    try {
      response = await this.#files.fetch(target, signal);
    } catch (error) {
      if (isAbort(error)) throw error;
      throw new MissingError(i18next.t("files.unreadable", { file: this.#nameOf(target) }), { cause: error });
    }
    if (response.ok) return response;
    throw new MissingError(i18next.t("files.missing", { file: this.#nameOf(target) }));
  }

  #nameOf(target: URL | Request): string {
    const url = target instanceof URL ? target.href : target.url;
    return url.replace(this.#files.base.href, "");
  }
}
