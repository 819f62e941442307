import { expect, test } from "vitest";
import type { Matrix } from "../../layout/Matrix";
import { describeValues } from "./describeValues";
import { cellAtPoint, layOutHeatMap, scrollTo } from "./heatMapGeometry";
import { planeOf, valueAt } from "./planeOf";

const values = Float32Array.from({ length: 24 }, (_, at) => at);
const matrix: Matrix = {
  address: "q.0",
  axes: ["head", "pos", "d_head"],
  shape: [2, 3, 4],
  level: 0,
  values,
};

test("a head is one plane of a matrix", () => {
  const plane = planeOf(matrix, [1, 2, 3]);
  expect(plane).toMatchObject({ rows: 3, columns: 4, rowAxis: "pos", columnAxis: "d_head", cellsPerSide: 1 });
  expect(valueAt(plane, 2, 3)).toBe(23);
  expect(valueAt(plane, 3, 0)).toBeNull();
});

test("a vector is one row, a pooled level says how much a cell stands for", () => {
  const vector = planeOf({ ...matrix, axes: ["d_model"], shape: [24] }, [5]);
  expect(vector).toMatchObject({ rows: 1, columns: 24, rowAxis: null });
  expect(planeOf({ ...matrix, level: 2 }, [0, 0, 0]).cellsPerSide).toBe(4);
});

test("statistics leave out what is masked or not recorded", () => {
  const description = describeValues(Float32Array.of(1, -3, 0, Number.NEGATIVE_INFINITY, Number.NaN));
  expect(description).toMatchObject({ count: 3, masked: 1, min: -3, max: 1, zeros: 1 / 3 });
  expect(description.mean).toBeCloseTo(-2 / 3, 6);
  expect(description.std).toBeCloseTo(1.699673, 5);
  expect(description.norm).toBeCloseTo(Math.sqrt(10), 6);
  expect(describeValues(Float32Array.of(Number.NaN)).mean).toBeNull();
});

test("a point finds its cell, scrolled or not, and a far cell is scrolled to", () => {
  const plane = planeOf({ ...matrix, shape: [1, 100, 500], values: new Float32Array(50_000) }, [0, 0, 0]);
  const geometry = layOutHeatMap(plane, 400, 1);
  const { gutterLeft, gutterTop, cellWidth, cellHeight } = geometry;
  const inCell = { x: gutterLeft + cellWidth / 2, y: gutterTop + cellHeight / 2 };
  expect(cellAtPoint(geometry, plane, inCell, { left: 0, top: 0 })).toEqual({ row: 0, column: 0 });
  expect(cellAtPoint(geometry, plane, inCell, { left: 7 * cellWidth, top: 3 * cellHeight })).toEqual({
    row: 3,
    column: 7,
  });
  expect(cellAtPoint(geometry, plane, { x: 1, y: 100 }, { left: 0, top: 0 })).toBeNull();
  const view = { width: 400, height: 300, left: 0, top: 0 };
  const target = scrollTo(geometry, { row: 90, column: 450 }, view);
  expect(target.left).toBeGreaterThan(0);
  expect(450 * cellWidth + cellWidth - target.left).toBeLessThanOrEqual(400 - gutterLeft);
  expect(scrollTo(geometry, { row: 0, column: 0 }, view)).toEqual({ left: 0, top: 0 });
});
