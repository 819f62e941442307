import { expect, test } from "vitest";
import { headAtPoint, layOutGrid } from "./gridGeometry";
import { tabulateHeads } from "./headScores";
import { nearestPoint, type PointAxes, pointOf } from "./pointGeometry";

const over = { previous: 3, first: 3, induction: 0, duplicate: 0, entropy: 3 };
const table = tabulateHeads(
  {
    start: 0,
    stop: 4,
    blocks: [0, 2].map((block) => ({
      block,
      over,
      heads: [0, 1, 2].map((head) => ({
        head,
        previous: head / 4,
        first: block / 4,
        induction: head === 2 ? null : 0.5,
        duplicate: null,
        entropy_bits: 1,
        entropy_share: 1,
      })),
    })),
    refused: [{ block: 1, reason: "it has none" }],
  },
  null,
);

test.each([120, 392, 900])(
  "in a grid %i pixels wide every head is found in the middle of its cell",
  (width) => {
    const { left, top, cellWidth, cellHeight } = layOutGrid(table, width);
    for (const { block, head } of table.rows) {
      const middle = { x: left + (head + 0.5) * cellWidth, y: top + (block + 0.5) * cellHeight };
      expect(headAtPoint(table, width, middle)).toEqual({ block, head });
    }
    expect(headAtPoint(table, width, { x: left + 1, y: top + 1.5 * cellHeight })).toBeNull();
    expect(headAtPoint(table, width, { x: left + 3 * cellWidth + 1, y: top + 1 })).toBeNull();
    expect(headAtPoint(table, width, { x: left - 1, y: top + 1 })).toBeNull();
  },
);

test("every block has a place, however many there are, and labels keep their distance", () => {
  const grid = layOutGrid({ blocks: 126, columns: 128 }, 392);
  expect(grid.height).toBeLessThan(420);
  expect(grid.left + 128 * grid.cellWidth).toBeLessThanOrEqual(392);
  expect(grid.labelEvery * grid.cellHeight).toBeGreaterThanOrEqual(12);
  expect(grid.headLabelEvery * grid.cellWidth).toBeGreaterThanOrEqual(20);
});

test("a point is found near where it stands, and where nothing is, nothing", () => {
  const size = { width: 392, height: 300 };
  const axes: PointAxes = { across: { score: "previous", limit: 1 }, up: { score: "first", limit: 1 } };
  const place = pointOf({ across: 0.25, up: 0.5 }, axes, size);
  expect(nearestPoint(table.rows, axes, size, { x: place.x + 5, y: place.y - 5 })).toEqual({
    block: 2,
    head: 1,
  });
  expect(nearestPoint(table.rows, axes, size, pointOf({ across: 0.9, up: 0.9 }, axes, size))).toBeNull();
  // A head without one of the two scores has no point.
  const untold: PointAxes = { ...axes, up: { score: "induction", limit: 1 } };
  expect(nearestPoint(table.rows, untold, size, pointOf({ across: 0.5, up: 0.5 }, untold, size))).toBeNull();
});

test("what a head is worth has its zero in the middle", () => {
  const axes: PointAxes = { across: { score: "worth", limit: 4 }, up: { score: "previous", limit: 1 } };
  const size = { width: 392, height: 300 };
  const [low, zero, high] = [-4, 0, 4].map((across) => pointOf({ across, up: 0 }, axes, size).x);
  expect((zero ?? 0) - (low ?? 0)).toBeCloseTo((high ?? 0) - (zero ?? 0));
});
