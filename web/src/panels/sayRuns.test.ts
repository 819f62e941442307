import { expect, test } from "vitest";
import { sayRuns } from "./sayRuns";

test("neighbours are joined, and many runs are cut short", () => {
  expect(sayRuns([0, 1, 2, 5])).toBe("0–2, 5");
  expect(sayRuns([3])).toBe("3");
  expect(sayRuns([0, 2, 4, 6])).toBe("0, 2, …");
});
