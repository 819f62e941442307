import { expect, test } from "vitest";
import type { Distribution } from "../protocol/schema.generated";
import { skylineBars } from "./skylineBars";

function distribution(chosen: number | null): Distribution {
  const candidates = Array.from({ length: 50 }, (_, id) => ({
    token: { id, text: `word ${id}`, special: false },
    logit: -id,
    probability: 0.5 ** (id + 1),
    filtered_probability: 0.5 ** (id + 1),
    stages: [],
    pruned_by: null,
  }));
  const rest = { rest_count: 0, rest_probability: 0, entropy_bits: 2, forced: false };
  return { pos: 3, stages: [], candidates, chosen, ...rest };
}

const litIds = (chosen: number | null) =>
  skylineBars(distribution(chosen), 13)
    .filter((bar) => bar.lit)
    .map((bar) => bar.candidate.token.id);

test("the word that stands there is lit, and no other", () => {
  expect(litIds(5)).toEqual([5]);
  expect(litIds(0)).toEqual([0]);
  expect(litIds(12)).toEqual([12]);
});

test("where no word stands yet the likeliest is lit", () => {
  expect(litIds(null)).toEqual([0]);
});

test("an unlikely word that was drawn has a bar of its own, set apart", () => {
  const bars = skylineBars(distribution(37), 13);
  expect(bars.length).toBe(13);
  expect(litIds(37)).toEqual([37]);
  expect(bars.filter((bar) => bar.apart).map((bar) => bar.candidate.token.id)).toEqual([37]);
  expect(bars.slice(0, 12).map((bar) => bar.candidate.token.id)).toEqual([...Array(12).keys()]);
});

test("the likeliest stands in the middle, and no two in one place", () => {
  const slots = skylineBars(distribution(null), 13).map((bar) => bar.slot);
  expect(slots[0]).toBe(-0);
  expect(new Set(slots).size).toBe(13);
  expect(Math.max(...slots.map(Math.abs))).toBe(6);
});
