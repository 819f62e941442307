import { partName } from "../layout/partName";
import type { Effects } from "../protocol/schema.generated";

/** Blocks that are tested by one request: the first answers come soon, and a deep model does not ask a hundred times. */
const BLOCKS_A_PIECE = 10;

/** What to ask for, in order, until everything is tested: the words of the text, then the blocks from the last upward. */
export function effectPieces(blockCount: number): string[] {
  const pieces = ["none"];
  for (let stop = blockCount; stop > 0; stop -= BLOCKS_A_PIECE) {
    pieces.push(`${Math.max(0, stop - BLOCKS_A_PIECE)}-${stop - 1}`);
  }
  return pieces;
}

/** All that is tested so far of one decision: words of the text, then parts from the first block to the last. */
export function mergeEffects(known: Effects | null, piece: Effects): Effects {
  if (!known) return piece;
  const parts = new Map([...known.parts, ...piece.parts].map((part) => [partName(part), part]));
  const place = ({ kind, block, position }: Effects["parts"][number]) =>
    kind === "token" ? (position ?? 0) - 1e9 : (block ?? 0);
  const refused = new Map(
    [...(known.refused ?? []), ...(piece.refused ?? [])].map((each) => [JSON.stringify(each), each]),
  );
  return {
    ...piece,
    blocks: joinBlocks(known.blocks, piece.blocks),
    parts: [...parts.values()].sort((one, other) => place(one) - place(other)),
    refused: [...refused.values()],
  };
}

function joinBlocks(one: Effects["blocks"], other: Effects["blocks"]): Effects["blocks"] {
  if (!one || !other) return one ?? other;
  return [Math.min(one[0], other[0]), Math.max(one[1], other[1])];
}
