import type { Rect } from "../layout/Rect";

/** A rectangle of the model from afar. */
export interface FarQuad extends Rect {
  /**
   * The spine's body, a card, a head's cell, an MLP's wing with its bar, a piece of a token's column by the stream's
   * size, a piece of the column that is read by the chosen word's probability there.
   */
  look: "body" | "card" | "cell" | "wing" | "column" | "voice";
  /** The part that it shows, if it shows one. */
  part: string | null;
  /** When the pass of light reaches it, as a fraction of the whole. */
  order: number;
  /** The boundary above it, and the token of a column. */
  boundary: number;
  position: number;
  /** Where experts stand in another order once all of them are seen: this one then goes, or comes. */
  mosaic?: "goes" | "comes";
}
