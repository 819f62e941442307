import { describe, expect, test } from "vitest";
import type { BlockHeads, Effects, HeadScores, Heads } from "../../protocol/schema.generated";
import { groupRefused, limitOf, rankHeads, stepHead, tabulateHeads } from "./headScores";

const NONE = { previous: 0, first: 0, induction: 0, duplicate: 0, entropy_bits: 1, entropy_share: 0.5 };
const OVER = { previous: 9, first: 9, induction: 2, duplicate: 2, entropy: 9 };

function block(number: number, ...scores: Partial<HeadScores>[]): BlockHeads {
  return { block: number, over: OVER, heads: scores.map((each, head) => ({ head, ...NONE, ...each })) };
}

/** Blocks 1 and 2 have no attention; block 3 has fewer heads. */
const HEADS: Heads = {
  start: 0,
  stop: 10,
  blocks: [
    block(0, { previous: 0.9, first: 0.4 }, { previous: 0.39 }, { induction: null, duplicate: null }),
    block(3, { induction: 0.6 }, { induction: 0.2 }),
  ],
  refused: [
    { block: 1, reason: "it is a state space" },
    { block: 2, reason: "it is a state space" },
    { block: 4, reason: "its check failed" },
  ],
};
const EFFECTS = {
  base: { margin: -0.5 },
  parts: [
    { kind: "head", block: 0, head: 1, margin: -2.5 },
    { kind: "head", block: 3, head: 0, margin: 0.25 },
    { kind: "mlp", block: 0, margin: -9 },
  ],
} as unknown as Effects;

const table = tabulateHeads(HEADS, EFFECTS);

describe("the table of heads", () => {
  test("blocks without heads are gaps, and have their place", () => {
    expect([table.blocks, table.columns]).toEqual([5, 3]);
    expect(table.at(1, 0)).toBeNull();
    expect(table.at(3, 1)?.values.induction).toBe(0.2);
    expect(table.at(3, 2)).toBeNull();
    expect(groupRefused(table.refused)).toEqual([
      { blocks: "1–2", reason: "it is a state space" },
      { blocks: "4", reason: "its check failed" },
    ]);
  });

  test("a head is called by every kind that has 0.4 of its attention, and by no other", () => {
    expect(table.at(0, 0)?.badges).toEqual(["previous", "first"]);
    expect(table.at(0, 1)?.badges).toEqual([]);
    expect(table.at(0, 2)?.badges).toEqual([]);
    expect(table.at(3, 0)?.badges).toEqual(["induction"]);
  });

  test("what a head is worth is what the word loses without it", () => {
    expect(table.rows.map((row) => row.values.worth)).toEqual([null, 2, null, -0.75, null]);
    expect(limitOf(table, "worth")).toBe(2);
    expect(limitOf(table, "first")).toBe(1);
    expect(tabulateHeads(HEADS, null).rows.every((row) => row.values.worth === null)).toBe(true);
  });

  test("the largest come first, and heads without a score are left out", () => {
    const ranked = rankHeads(table, "induction").map(({ block, head }) => `${block}.${head}`);
    expect(ranked).toEqual(["3.0", "3.1", "0.0", "0.1"]);
  });

  test.each([
    ["ArrowDown", 0, 1, 3, 1],
    ["ArrowUp", 3, 0, 0, 0],
    ["ArrowRight", 0, 0, 0, 1],
    ["ArrowRight", 3, 1, 3, 1],
    ["ArrowDown", 0, 2, 0, 2],
    ["ArrowUp", 0, 0, 0, 0],
    ["Home", 3, 1, 0, 0],
    ["End", 0, 0, 3, 1],
  ])("%s leads from head %i.%i to the next one that is there", (key, block, head, toBlock, toHead) => {
    expect(stepHead(table, { block, head }, key)).toEqual({ block: toBlock, head: toHead });
  });

  test("other keys are not for it", () => {
    expect(stepHead(table, { block: 0, head: 0 }, "a")).toBeNull();
  });
});
