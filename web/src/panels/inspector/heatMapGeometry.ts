import type { Plane } from "./planeOf";

export interface Geometry {
  cellWidth: number;
  cellHeight: number;
  /** Room for the row labels and the column labels. */
  gutterLeft: number;
  gutterTop: number;
  /** Of everything, scrolled or not. */
  totalWidth: number;
  totalHeight: number;
}

export interface PlaneCell {
  row: number;
  column: number;
}

const GUTTER_LEFT_PX = 64;
const GUTTER_TOP_NUMBERS_PX = 22;
const GUTTER_TOP_TOKENS_PX = 58;
const LARGEST_FITTED_CELL_PX = 22;
/** Cells are never thinner than this; a matrix that does not fit is scrolled. */
const SMALLEST_CELL_PX = 2;
const TALLEST_FITTED_PX = 320;
const TALLEST_ZOOMED_CELL_PX = 24;
/** A cell scrolled into view keeps this much of its neighbours beside it. */
const MARGIN_PX = 24;

/** Cells as large as fit the width, times the zoom, in whole pixels so that every cell is as wide as the next. */
export function layOutHeatMap(plane: Plane, viewWidth: number, zoom: number): Geometry {
  const gutterLeft = plane.rowAxis === null ? 8 : GUTTER_LEFT_PX;
  const gutterTop = plane.columnAxis === "key" ? GUTTER_TOP_TOKENS_PX : GUTTER_TOP_NUMBERS_PX;
  const fitted = Math.floor((viewWidth - gutterLeft - 1) / plane.columns);
  const width = clamp(fitted, SMALLEST_CELL_PX, LARGEST_FITTED_CELL_PX);
  const square = plane.columnAxis === "key" || plane.rows > plane.columns;
  const fittedHeight = Math.floor(TALLEST_FITTED_PX / plane.rows);
  const height = square ? width : clamp(fittedHeight, Math.max(width, 4), 14);
  const cellWidth = Math.max(1, Math.round(width * zoom));
  // A row needs no more than its number; the width is what a larger cell is for.
  const cellHeight = Math.max(
    1,
    Math.min(Math.round(height * zoom), Math.max(height, TALLEST_ZOOMED_CELL_PX)),
  );
  return {
    cellWidth,
    cellHeight,
    gutterLeft,
    gutterTop,
    totalWidth: gutterLeft + plane.columns * cellWidth,
    totalHeight: gutterTop + plane.rows * cellHeight,
  };
}

/** The cell under a point of the view, given how far the view is scrolled. */
export function cellAtPoint(
  geometry: Geometry,
  plane: Plane,
  point: { x: number; y: number },
  scroll: { left: number; top: number },
): PlaneCell | null {
  if (point.x < geometry.gutterLeft || point.y < geometry.gutterTop) return null;
  const column = Math.floor((point.x - geometry.gutterLeft + scroll.left) / geometry.cellWidth);
  const row = Math.floor((point.y - geometry.gutterTop + scroll.top) / geometry.cellHeight);
  return row < plane.rows && column < plane.columns ? { row, column } : null;
}

/** The scroll offsets that bring a cell into view, changed as little as possible. */
export function scrollTo(
  geometry: Geometry,
  cell: PlaneCell,
  view: { width: number; height: number; left: number; top: number },
): { left: number; top: number } {
  return {
    left: reveal(
      cell.column * geometry.cellWidth,
      geometry.cellWidth,
      view.left,
      view.width - geometry.gutterLeft,
    ),
    top: reveal(
      cell.row * geometry.cellHeight,
      geometry.cellHeight,
      view.top,
      view.height - geometry.gutterTop,
    ),
  };
}

function reveal(start: number, size: number, offset: number, room: number): number {
  if (start - MARGIN_PX < offset) return Math.max(0, start - MARGIN_PX);
  if (start + size + MARGIN_PX > offset + room) return start + size + MARGIN_PX - room;
  return offset;
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}
