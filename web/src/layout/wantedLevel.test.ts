import { expect, test } from "vitest";
import { wantedLevel } from "./wantedLevel";

test("a level has about a cell for a pixel", () => {
  expect(wantedLevel(40, 128, 200, 20, 1)).toBe(0);
  expect(wantedLevel(2048, 12288, 220, 20, 1)).toBeGreaterThanOrEqual(3);
  expect(wantedLevel(2048, 768, 4096, 1536, 1)).toBe(0);
});

test("what is quiet may come with larger cells, until one is near", () => {
  expect(wantedLevel(384, 128, 300, 100, 1)).toBe(0);
  expect(wantedLevel(384, 128, 300, 100, 1, { cellPx: 2 })).toBe(1);
  expect(wantedLevel(384, 128, 900, 300, 1, { cellPx: 2 })).toBe(0);
});
