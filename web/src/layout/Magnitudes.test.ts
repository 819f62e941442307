import { expect, test } from "vitest";
import { Magnitudes, rangeOf } from "./Magnitudes";

const evenly = (count: number, most: number) =>
  Float32Array.from({ length: count }, (_, index) => ((index + 1) / count) * most * (index % 2 ? 1 : -1));

test("a massive value spoils no scale, and what is beyond the scale is counted", () => {
  const values = evenly(1000, 1);
  values.set([4000, -9000], 500);
  const { limit, largest, clipped } = rangeOf(values);
  expect(limit).toBeGreaterThan(0.95);
  expect(limit).toBeLessThan(1.13);
  expect(largest).toBe(9000);
  expect(clipped).toBe(values.filter((value) => Math.abs(value) >= limit).length / 1000);
});

test("values that differ little are not clipped, and what is not finite is left out", () => {
  expect(rangeOf(new Float32Array(16).fill(0.5))).toEqual({ limit: 0.5, largest: 0.5, clipped: 0 });
  expect(rangeOf(Float32Array.of(Number.NaN, Number.NEGATIVE_INFINITY, 1.5, -2))).toEqual({
    limit: 2,
    largest: 2,
    clipped: 0,
  });
  expect(rangeOf(new Float32Array(0))).toEqual({ limit: 0, largest: 0, clipped: 0 });
});

test("where nearly all is zero, the few that are not have a scale", () => {
  const values = new Float32Array(1000);
  values[7] = 3;
  expect(rangeOf(values)).toEqual({ limit: 3, largest: 3, clipped: 0 });
});

test("rows that come one by one give the scale that all at once give", () => {
  const values = evenly(640, 7);
  const grown = new Magnitudes();
  for (let row = 0; row < 10; row++) grown.add(values.subarray(row * 64, (row + 1) * 64));
  const joined = new Magnitudes();
  joined.merge(grown);
  expect(grown.range()).toEqual(rangeOf(values));
  expect(joined.range()).toEqual(grown.range());
});
