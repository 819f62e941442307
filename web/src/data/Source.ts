import type { LiveFrame } from "../protocol/LiveFrame";
import type {
  Distribution,
  Effects,
  Explanation,
  Heads,
  Reading,
  Sampling,
  Without,
} from "../protocol/schema.generated";

/** Names a Zarr store: a model's weights, or a recording when `positions` were recorded, which set its shapes. */
export type StoreAddress =
  | { kind: "recording"; traceId: string; positions: number }
  | { kind: "weights"; modelId: string };

export interface CellReference {
  address: string;
  index: readonly number[];
}

/** One decision of a recording, and the word it is held against. */
export interface DecisionReference {
  traceId: string;
  position: number;
  versus: Reading["versus"];
}

/** Rows of the positions `start` to `stop` at a level, of one tensor or several. */
export interface RowsReference {
  addresses: readonly string[];
  start: number;
  stop: number;
  level: number;
}

/** What of an array is read: an index along each axis, a range, or null for all of it. */
export type Selection = (number | null | { start: number; stop: number })[];

/** Where Zarr stores are, and how one of their keys is fetched. */
export interface StoreSource {
  /** Whether there is such a store at all: an export may leave the weights out. */
  holds(store: StoreAddress): boolean;
  storeUrl(store: StoreAddress): URL;
  fetchKey(request: Request): Promise<Response>;
  /** Reads some rows of a recording, which may still grow. An export of files cannot do that. */
  readRows?(traceId: string, rows: RowsReference, signal: AbortSignal): Promise<LiveFrame>;
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
  /** What mattered for a decision; null where the files of an export do not hold it. */
  readReading(decision: DecisionReference, signal?: AbortSignal): Promise<Reading | null>;
  readEffects(decision: DecisionReference, blocks: string, signal?: AbortSignal): Promise<Effects | null>;
  /** What the heads of some blocks (`0-9`) read over the text; null where the files of an export do not hold it. */
  readHeads(traceId: string, blocks: string, signal?: AbortSignal): Promise<Heads | null>;
  /** The decision without some parts. The files of an export cannot answer that. */
  readWithout?(
    decision: Omit<DecisionReference, "versus">,
    parts: readonly string[],
    signal?: AbortSignal,
  ): Promise<Without>;
}
