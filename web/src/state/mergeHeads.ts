import type { Heads } from "../protocol/schema.generated";

/** All heads that are known of a text, with those of some more blocks. */
export function mergeHeads(known: Heads | null, piece: Heads): Heads {
  if (!known) return piece;
  return {
    ...piece,
    blocks: [...known.blocks, ...piece.blocks],
    refused: [...(known.refused ?? []), ...(piece.refused ?? [])],
  };
}
