import { expect, test } from "vitest";
import { robustMax } from "./robustMax";

test("one outlier does not dim a matrix", () => {
  const values = Float32Array.from({ length: 1000 }, (_, index) => Math.sin(index));
  values[17] = 500;
  expect(robustMax(values)).toBeLessThan(1.01);
  expect(robustMax(values)).toBeGreaterThan(0.9);
});

test("masked and missing values are no magnitudes", () => {
  expect(robustMax([Number.NaN, Number.NEGATIVE_INFINITY, -3])).toBe(3);
  expect(robustMax([])).toBe(0);
  expect(robustMax([0, 0])).toBe(0);
});
