import type {
  Anatomy,
  Distribution,
  Explanation,
  ModelSummary,
  Sampling,
  Step,
  TraceState,
} from "../protocol/schema.generated";
import { MissingError } from "./MatrixReader";
import { isAbort } from "./request";
import type { CellReference, Source, StoreAddress } from "./Source";

/** `data/recording.json` of an export; written by `glassformer/export.py`. */
export interface ExportedRecording {
  model: ModelSummary;
  prompt: string;
  recording: TraceState;
  steps: Step[];
  sampling: Sampling;
  weights: "none" | "coarse" | "full";
}

/** Answers from the files of an export, beside the page. Throws MissingError for one that is not there or not whole. */
export class ExportedSource implements Source {
  readonly #base: URL;
  #weights: ExportedRecording["weights"] = "none";

  constructor(base: URL) {
    this.#base = base;
  }

  async readAnatomy(): Promise<Anatomy> {
    const anatomy = await this.#readJson<Anatomy>("anatomy.json");
    if (!Array.isArray(anatomy.blocks)) throw new MissingError("anatomy.json is not an anatomy");
    return anatomy;
  }

  async readRecording(): Promise<ExportedRecording> {
    const found = await this.#readJson<ExportedRecording>("recording.json");
    if (!Array.isArray(found.recording?.tokens)) throw new MissingError("recording.json is not a recording");
    this.#weights = found.weights;
    return found;
  }

  /** As it was drawn from when it was recorded. */
  readDistribution(
    _traceId: string,
    position: number,
    _sampling: Sampling,
    signal?: AbortSignal,
  ): Promise<Distribution> {
    return this.#readJson(`distributions/${position}.json`, signal);
  }

  explain(_traceId: string, _cell: CellReference, _signal?: AbortSignal): Promise<Explanation> {
    return Promise.reject(new Error("How a cell was computed is told by a running Glassformer alone."));
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
