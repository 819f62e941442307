import { expect, test } from "vitest";
import type { Effects } from "../protocol/schema.generated";
import { effectPieces, mergeEffects } from "./mergeEffects";
import { spainEffects } from "./spainReading";

function piece(blocks: Effects["blocks"], refused: Effects["refused"] = []): Effects {
  const parts = spainEffects.parts.filter(({ kind, block }) =>
    blocks === null ? kind === "token" : block != null && block >= blocks[0] && block <= blocks[1],
  );
  return { ...spainEffects, blocks, parts, refused };
}

test("words of the text come first, then blocks from the last upward", () => {
  expect(effectPieces(30)).toEqual(["none", "20-29", "10-19", "0-9"]);
  expect(effectPieces(12)).toEqual(["none", "2-11", "0-1"]);
  expect(effectPieces(5)).toEqual(["none", "0-4"]);
  expect(effectPieces(0)).toEqual(["none"]);
});

test("pieces make the whole, in its order, and none counts twice", () => {
  const refused = { piece: "effects" as const, kind: "head", block: 3, reason: "mixed" };
  const pieces = [piece(null), piece([20, 29]), piece([20, 29], [refused]), piece([0, 19], [refused])];
  const merged = pieces.reduce<Effects | null>(mergeEffects, null);
  expect(merged?.parts).toEqual(spainEffects.parts);
  expect(merged?.blocks).toEqual([0, 29]);
  expect(merged?.refused).toEqual([refused]);
  expect(mergeEffects(piece(null), piece([20, 29])).blocks).toEqual([20, 29]);
});
