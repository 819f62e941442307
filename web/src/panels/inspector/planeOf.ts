import { isMasked, isPattern } from "../../layout/isMasked";
import type { Matrix } from "../../layout/Matrix";

/** The last two axes of a matrix at one index of the axes before them: what a heat map shows. */
export interface Plane {
  rows: number;
  columns: number;
  /** Null for a vector, which has only columns. */
  rowAxis: string | null;
  columnAxis: string;
  /** Row after row; a view into the matrix. */
  values: Float32Array;
  /** Each cell of the plane stands for so many by so many cells of the exact matrix. */
  cellsPerSide: number;
}

/** `index` is a cell of the exact matrix; only its leading part counts. */
export function planeOf(matrix: Matrix, index: readonly number[]): Plane {
  const { shape, axes, values, level } = matrix;
  const columns = shape.at(-1) ?? 1;
  const rows = shape.length > 1 ? (shape.at(-2) ?? 1) : 1;
  const leading = shape.slice(0, -2);
  const plane = leading.reduce(
    (offset, size, axis) => offset * size + Math.min(index[axis] ?? 0, size - 1),
    0,
  );
  const start = plane * rows * columns;
  return {
    rows,
    columns,
    rowAxis: shape.length > 1 ? (axes.at(-2) ?? "row") : null,
    columnAxis: axes.at(-1) ?? "column",
    values: values.subarray(start, start + rows * columns),
    cellsPerSide: 2 ** level,
  };
}

/** Whether attention does not look from this row at this column. */
export function isMaskedAt(plane: Plane, row: number, column: number): boolean {
  const { rowAxis, columnAxis } = plane;
  if (rowAxis === null || !isPattern([rowAxis, columnAxis])) return false;
  return isMasked(plane.values[row * plane.columns + column] ?? Number.NaN, row, column);
}

export function valueAt(plane: Plane, row: number, column: number): number | null {
  if (row < 0 || row >= plane.rows || column < 0 || column >= plane.columns) return null;
  return plane.values[row * plane.columns + column] ?? null;
}
