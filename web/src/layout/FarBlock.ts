import type { Mosaic } from "./Mosaic";
import type { Rect } from "./Rect";

/** A block from afar, one calm card: a cell for each head, a wing for the MLP. */
export interface FarBlock {
  /** The side of what mixes positions; `heads` lie on it, and at the spine `whole`, which stands for all of it. */
  attention: Rect | null;
  whole: Rect | null;
  heads: Rect[];
  mlp: Rect | null;
  /** The MLP is many experts, of which a router chooses some. */
  isRouted: boolean;
  /** What mixes positions has no heads. */
  isMixer: boolean;
  /** What stands in the place of the cells once one comes nearer. */
  mosaics: Mosaic[];
}
