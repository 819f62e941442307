import type { Frame } from "../protocol/frames";
import type { Distribution, Explanation, Sampling } from "../protocol/schema.generated";
import { fetchDistribution, fetchExplanation, fetchRows } from "./client";
import { pathOfId, readRefusal, request } from "./request";
import { serverAddress } from "./serverAddress";

/** Which Zarr store: a recording at so many recorded positions (its shapes follow them), or a model's weights. */
export type StoreAddress =
  | { kind: "recording"; traceId: string; positions: number }
  | { kind: "weights"; modelId: string };

export interface CellReference {
  address: string;
  index: readonly number[];
}

/** Rows of the positions `start` to `stop` at a level, of one tensor or several. */
export interface RowsReference {
  addresses: readonly string[];
  start: number;
  stop: number;
  level: number;
}

/** Where Zarr stores are, and how one of their keys is fetched. */
export interface StoreSource {
  /** Whether there is such a store at all: an export may leave the weights out. */
  holds(store: StoreAddress): boolean;
  storeUrl(store: StoreAddress): URL;
  fetchKey(request: Request): Promise<Response>;
  /** Rows alone, of a recording that may be growing; not where only files are. */
  readRows?(traceId: string, rows: RowsReference, signal: AbortSignal): Promise<Frame>;
}

/** What can be asked about a recording: of a running server, or of the files of an export. */
export interface Source extends StoreSource {
  readDistribution(
    traceId: string,
    position: number,
    sampling: Sampling,
    signal?: AbortSignal,
  ): Promise<Distribution>;
  explain(traceId: string, cell: CellReference, signal?: AbortSignal): Promise<Explanation>;
}

export const liveSource: Source = {
  readDistribution: fetchDistribution,
  explain: fetchExplanation,
  readRows: fetchRows,
  holds: () => true,
  storeUrl(store) {
    const path = store.kind === "recording" ? `traces/${store.traceId}` : `models/${pathOfId(store.modelId)}`;
    return serverAddress(`/api/${path}/zarr`);
  },
  async fetchKey(key) {
    const response = await request(key);
    if (!response.ok) throw await readRefusal(response);
    return response;
  },
};
