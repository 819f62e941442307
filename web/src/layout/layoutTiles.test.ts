import { expect, test } from "vitest";
import { layoutTiles } from "./layoutTiles";

test("few tokens stand in one row, centred over the spine", () => {
  const { places, rows } = layoutTiles([1, 1, 1], 400, 12, 0);
  expect(rows).toBe(1);
  const last = places.at(-1);
  expect((places[0]?.corner[0] ?? 0) + (last ? last.corner[0] + last.width : 0)).toBeCloseTo(0);
});

test("rows are balanced and do not overlap", () => {
  const ems = Array.from({ length: 40 }, (_, index) => 1 + (index % 3));
  const { places, rows, height } = layoutTiles(ems, 600, 12, 10);
  expect(rows).toBeGreaterThan(1);
  expect(places.length).toBe(40);
  const tops = [...new Set(places.map((place) => place.corner[1]))];
  expect(tops.length).toBe(rows);
  for (const top of tops) {
    const row = places.filter((place) => place.corner[1] === top).sort((a, b) => a.corner[0] - b.corner[0]);
    row.forEach((place, index) => {
      const next = row[index + 1];
      if (next) expect(place.corner[0] + place.width).toBeLessThanOrEqual(next.corner[0]);
    });
  }
  expect(Math.min(...places.map((place) => place.corner[1] - place.height))).toBeGreaterThanOrEqual(10);
  expect(Math.max(...places.map((place) => place.corner[1]))).toBeLessThanOrEqual(10 + height + 1e-6);
});

test("a long prompt is set smaller instead of taller", () => {
  const long = layoutTiles(Array(2000).fill(2), 600, 12, 0);
  const short = layoutTiles(Array(60).fill(2), 600, 12, 0);
  expect(long.places[0]?.size).toBeLessThan(12);
  expect(long.height).toBeLessThan(short.height * 3);
});

test("no tokens, no rows", () => {
  expect(layoutTiles([], 600, 12, 0)).toEqual({ places: [], rows: 0, height: 0 });
});
