import type { EquationInput, SiteInput, WeightInput } from "../../protocol/schema.generated";
import type { Selection } from "../Source";

/** What an equation reads: a site, a weight, or what another equation gives. */
export type Given = SiteInput | WeightInput | EquationInput;

/** Where the numbers of an explanation come from. */
export interface Readings {
  tokenIds: number[];
  positions: number;
  readSite(address: string, selection: Selection): Promise<ArrayLike<number>>;
  readWeight(name: string, selection: Selection): Promise<ArrayLike<number>>;
  /** Cosine and sine tables of a block, a row for each position; null if the model has none. */
  readRotary(block: number): Promise<{ cos: number[][]; sin: number[][] } | null>;
}

/** The same, and how large everything is. Both throw NotFollowedError for what is not there. */
export interface Operands extends Readings {
  siteShape(address: string): number[];
  weightShape(name: string): number[];
}

/** The equation uses something that only the server can compute. */
export class NotFollowedError extends Error {
  override readonly name = "NotFollowedError";
}

export function siteOf(given: Given | undefined): SiteInput {
  if (given?.kind !== "site") throw new NotFollowedError("site");
  return given;
}

export function weightOf(given: Given | undefined): WeightInput {
  if (given?.kind !== "weight") throw new NotFollowedError("weight");
  return given;
}

/** The head of `second`, keys or values, that `head` of `first` uses. */
export function findKvHead(operands: Operands, head: number, first: string, second: string): number {
  const [heads = 1, kvHeads = 1] = [first, second].map((address) => operands.siteShape(address)[0]);
  return Math.floor(head / (heads / kvHeads));
}
