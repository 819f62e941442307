import { expect, test } from "vitest";
import type { HeadPattern } from "../../state/AppState";
import { largestShares, poolPattern, readsOf } from "./readPattern";

/** Positions 4 to 7: each row is what a token reads. */
const PATTERN: HeadPattern = {
  traceId: "a",
  block: 1,
  head: 2,
  start: 4,
  stop: 8,
  values: Float32Array.of(1, 0, 0, 0, 0.25, 0.75, 0, 0, 0.5, 0.25, 0.25, 0, 0.125, 0.0625, 0.6875, 0.125),
};

test("a token's row is what it reads, its column who reads it", () => {
  const found = readsOf(PATTERN, 5);
  expect([...(found?.reads ?? [])]).toEqual([0.25, 0.75, 0, 0]);
  expect([...(found?.readBy ?? [])]).toEqual([0, 0.75, 0.25, 0.0625]);
  expect(found?.most).toBe(5);
  expect(readsOf(PATTERN, 7)?.most).toBe(6);
  expect(readsOf(PATTERN, 3)).toBeNull();
  expect(readsOf(PATTERN, 8)).toBeNull();
});

test("the largest shares are told by position, the token itself left out where it says nothing", () => {
  const reads = readsOf(PATTERN, 7)?.reads ?? new Float32Array();
  expect(largestShares(reads, 4, { count: 2 }).map(({ position }) => position)).toEqual([6, 4]);
  const readBy = readsOf(PATTERN, 5)?.readBy ?? new Float32Array();
  expect(largestShares(readBy, 4, { without: 5 })).toEqual([
    { position: 6, weight: 0.25 },
    { position: 7, weight: 0.0625 },
  ]);
});

test("a pattern that is too large for its place keeps the largest of what shares a cell", () => {
  expect(poolPattern(PATTERN, 9)).toEqual({ size: 4, cells: PATTERN.values });
  expect(poolPattern(PATTERN, 2)).toEqual({ size: 2, cells: Float32Array.of(1, 0, 0.5, 0.6875) });
  expect(poolPattern(PATTERN, 3).size).toBe(2);
});
