import { expect, test } from "vitest";
import { placeLabels } from "./placeLabels";

const box = (x: number, y: number) => ({ x, y, width: 50, height: 12 });

test("the more important of two that overlap stays", () => {
  const candidates = [
    { box: box(0, 0), priority: 5 },
    { box: box(20, 4), priority: 1 },
    { box: box(200, 0), priority: 9 },
  ];
  expect(placeLabels(candidates)).toEqual([1, 2]);
});

test("labels across the edge of a grid cell are seen", () => {
  const candidates = [
    { box: box(40, 60), priority: 1 },
    { box: box(70, 66), priority: 2 },
  ];
  expect(placeLabels(candidates)).toEqual([0]);
});

test("no more than the limit", () => {
  const candidates = Array.from({ length: 20 }, (_, index) => ({ box: box(0, index * 30), priority: index }));
  expect(placeLabels(candidates, 5)).toEqual([0, 1, 2, 3, 4]);
});
