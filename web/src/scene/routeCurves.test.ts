import { expect, test } from "vitest";
import type { Cell } from "../layout/Cell";
import { layoutModel } from "../layout/layoutModel";
import { columnAt } from "../layout/layoutTiles";
import type { Mosaic } from "../layout/Mosaic";
import { sampleAnatomy, TALES } from "../layout/sampleAnatomy";
import { SAMPLE_TEXTS } from "../layout/sampleTexts";
import { spainReading } from "../state/spainReading";
import { routeCurves } from "./routeCurves";

const TOKENS = 40;
const EXPERTS = 8;
const layout = layoutModel(sampleAnatomy(TALES), TOKENS, SAMPLE_TEXTS);
const mosaic: Mosaic = {
  corner: [100, 0, 0],
  right: [80, 0, 0],
  down: [0, -40, 0],
  block: 0,
  kind: "experts",
  name: "expert_weights.0",
  count: EXPERTS,
  tilesAcross: 4,
  tilesDown: 2,
  fill: [0.9, 0.84],
  columns: TOKENS,
  rows: 1,
  order: [0, 0],
  unchecked: false,
};
/** What every token has of every expert, unless it was not chosen. */
const valuesOf = (isChosen: (token: number, expert: number) => boolean) => ({
  rangeOf: () => ({ limit: 1, largest: 1, clipped: 0 }),
  valueAt: ({ index: [token = 0, expert = 0] }: Cell) => (isChosen(token, expert) ? 1 / EXPERTS : 0),
});
const reading = { ...spainReading, position: 18 };

test("where the lines of all tokens to all their experts would be a cloth, only those of the token that is read are drawn", () => {
  const all = valuesOf(() => true);
  const curves = routeCurves(layout, mosaic, all, reading);
  expect(curves.map(({ token }) => token)).toEqual(Array(EXPERTS).fill(18));
  expect(curves.every(({ points }) => points[0]?.[0] === columnAt(layout, 18))).toBe(true);
  expect(routeCurves(layout, mosaic, all, null)).toEqual([]);
});

test("few lines are drawn of every token, and those of the token that is read stand out", () => {
  const two = valuesOf((token, expert) => expert === token % EXPERTS || expert === (token + 1) % EXPERTS);
  const curves = routeCurves(layout, mosaic, two, reading);
  expect(curves).toHaveLength(2 * TOKENS);
  const strengths = (isOwn: boolean) =>
    curves.filter(({ token }) => (token === 18) === isOwn).map(({ strength }) => strength);
  expect(Math.min(...strengths(true))).toBeGreaterThan(Math.max(...strengths(false)));
});
