import type { Theme } from "../../state/AppState";
import { type ColourScale, colourOf } from "../colourScale";
import { formatNumber } from "../formatNumber";
import type { Geometry, PlaneCell } from "./heatMapGeometry";
import { isMaskedAt, type Plane, valueAt } from "./planeOf";

export interface HeatMapPicture extends ColourScale {
  plane: Plane;
  geometry: Geometry;
  selected: PlaneCell | null;
  hovered: PlaneCell | null;
  rowLabel(row: number): string;
  columnLabel(column: number): string;
}

interface HeatMapView {
  width: number;
  height: number;
  left: number;
  top: number;
}

interface Ink {
  text: string;
  quiet: string;
  line: string;
  strong: string;
  masked: string;
}

const INKS: Record<Theme, Ink> = {
  dark: { text: "#d7deea", quiet: "#8e9ab0", line: "#ffffff38", strong: "#ffffff", masked: "#ffffff14" },
  light: { text: "#1c2636", quiet: "#5a667a", line: "#00000038", strong: "#000000", masked: "#00000012" },
};
const CHEQUERS = [
  [255, 255, 255],
  [0, 0, 0],
] as const;
const LABEL_PX = 10;
/** Labels a little closer than their own height still read as separate lines. */
const LEAST_LABEL_SPACING_PX = 9;
/** From this width a cell has room for its number. */
const NUMBERED_CELL_PX = 34;
const MONO = '"JetBrains Mono Variable", ui-monospace, monospace';

/** Draws the part of the matrix that the view shows: its cost follows the view, not the matrix. */
export function drawHeatMap(
  context: CanvasRenderingContext2D,
  picture: HeatMapPicture,
  view: HeatMapView,
): void {
  const ink = INKS[picture.theme];
  context.clearRect(0, 0, view.width, view.height);
  // The font has ligatures, which would turn tokens such as <|bos|> into arrows.
  context.textRendering = "optimizeSpeed";
  const shown = shownCells(picture, view);
  drawCells(context, picture, view, shown);
  drawCrosshair(context, picture, view, ink);
  drawNumbers(context, picture, view, shown);
  drawLabels(context, picture, view, shown, ink);
}

interface Shown {
  firstRow: number;
  lastRow: number;
  firstColumn: number;
  lastColumn: number;
}

function shownCells({ geometry, plane }: HeatMapPicture, view: HeatMapView): Shown {
  const { cellWidth, cellHeight, gutterLeft, gutterTop } = geometry;
  return {
    firstRow: Math.floor(view.top / cellHeight),
    lastRow: Math.min(plane.rows - 1, Math.floor((view.top + view.height - gutterTop) / cellHeight)),
    firstColumn: Math.floor(view.left / cellWidth),
    lastColumn: Math.min(plane.columns - 1, Math.floor((view.left + view.width - gutterLeft) / cellWidth)),
  };
}

/** One pixel a cell, then enlarged without smoothing: crisp, and one draw call however many cells. */
function drawCells(
  context: CanvasRenderingContext2D,
  picture: HeatMapPicture,
  view: HeatMapView,
  shown: Shown,
): void {
  const { plane, geometry, theme } = picture;
  const columns = shown.lastColumn - shown.firstColumn + 1;
  const rows = shown.lastRow - shown.firstRow + 1;
  if (columns <= 0 || rows <= 0) return;
  const image = new ImageData(columns, rows);
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      const [at, across] = [shown.firstRow + row, shown.firstColumn + column];
      if (isMaskedAt(plane, at, across)) continue;
      const value = valueAt(plane, at, across) ?? Number.NaN;
      // What is no number is chequered.
      const colour = colourOf(value, picture) ?? CHEQUERS[(at + across) % 2] ?? CHEQUERS[0];
      const offset = (row * columns + column) * 4;
      image.data[offset] = colour[0];
      image.data[offset + 1] = colour[1];
      image.data[offset + 2] = colour[2];
      image.data[offset + 3] = 255;
    }
  }
  const small = new OffscreenCanvas(columns, rows);
  small.getContext("2d")?.putImageData(image, 0, 0);
  context.save();
  clipToCells(context, picture, view);
  const left = geometry.gutterLeft + shown.firstColumn * geometry.cellWidth - view.left;
  const top = geometry.gutterTop + shown.firstRow * geometry.cellHeight - view.top;
  context.fillStyle = INKS[theme].masked;
  context.fillRect(left, top, columns * geometry.cellWidth, rows * geometry.cellHeight);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, left, top, columns * geometry.cellWidth, rows * geometry.cellHeight);
  context.restore();
}

function drawNumbers(
  context: CanvasRenderingContext2D,
  picture: HeatMapPicture,
  view: HeatMapView,
  shown: Shown,
): void {
  const { plane, geometry } = picture;
  if (geometry.cellWidth < NUMBERED_CELL_PX || geometry.cellHeight < LABEL_PX + 2) return;
  context.save();
  clipToCells(context, picture, view);
  context.font = `${LABEL_PX - 1}px ${MONO}`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (let row = shown.firstRow; row <= shown.lastRow; row += 1) {
    for (let column = shown.firstColumn; column <= shown.lastColumn; column += 1) {
      const value = valueAt(plane, row, column);
      if (isMaskedAt(plane, row, column)) continue;
      const colour = value === null ? null : colourOf(value, picture);
      if (!colour) continue;
      const luminance = colour[0] * 0.299 + colour[1] * 0.587 + colour[2] * 0.114;
      context.fillStyle = luminance > 128 ? "#0b101b" : "#f2f5fa";
      context.fillText(
        formatNumber(value, 2),
        geometry.gutterLeft + (column + 0.5) * geometry.cellWidth - view.left,
        geometry.gutterTop + (row + 0.5) * geometry.cellHeight - view.top,
        geometry.cellWidth - 2,
      );
    }
  }
  context.restore();
}

function drawLabels(
  context: CanvasRenderingContext2D,
  picture: HeatMapPicture,
  view: HeatMapView,
  shown: Shown,
  ink: Ink,
): void {
  const { plane, geometry, selected } = picture;
  context.save();
  context.font = `${LABEL_PX}px ${MONO}`;
  context.textBaseline = "middle";
  if (plane.rowAxis !== null) {
    context.textAlign = "right";
    const countsTokens = plane.rowAxis === "pos" || plane.rowAxis === "query";
    const every = niceStep(LEAST_LABEL_SPACING_PX / geometry.cellHeight, !countsTokens);
    for (let row = shown.firstRow; row <= shown.lastRow; row += 1) {
      const isSelected = row === selected?.row;
      if (!isSelected && (row % every !== 0 || isNear(row, selected?.row, every))) continue;
      const y = geometry.gutterTop + (row + 0.5) * geometry.cellHeight - view.top;
      if (y < geometry.gutterTop) continue;
      context.fillStyle = isSelected ? ink.strong : ink.quiet;
      context.fillText(picture.rowLabel(row), geometry.gutterLeft - 6, y, geometry.gutterLeft - 8);
    }
  }
  const upright = plane.columnAxis !== "key";
  const spacing = upright ? 34 : LEAST_LABEL_SPACING_PX;
  const every = niceStep(spacing / geometry.cellWidth, upright);
  for (let column = shown.firstColumn; column <= shown.lastColumn; column += 1) {
    const isSelected = column === selected?.column;
    if (
      !isSelected &&
      (column % every !== 0 || isNear(column, selected?.column, spacing / geometry.cellWidth))
    )
      continue;
    const x = geometry.gutterLeft + (column + 0.5) * geometry.cellWidth - view.left;
    if (x < geometry.gutterLeft) continue;
    context.fillStyle = isSelected ? ink.strong : ink.quiet;
    context.save();
    context.translate(x, geometry.gutterTop - 6);
    if (upright) context.textAlign = "center";
    else {
      context.textAlign = "left";
      context.rotate(-Math.PI / 2);
    }
    context.fillText(
      picture.columnLabel(column),
      0,
      upright ? -4 : 0,
      upright ? spacing * 2 : geometry.gutterTop - 8,
    );
    context.restore();
  }
  context.restore();
}

function drawCrosshair(
  context: CanvasRenderingContext2D,
  picture: HeatMapPicture,
  view: HeatMapView,
  ink: Ink,
): void {
  const { geometry, selected, hovered, plane } = picture;
  context.save();
  clipToCells(context, picture, view);
  if (selected) {
    const { x, y } = cornerOf(selected);
    const right = geometry.gutterLeft + plane.columns * geometry.cellWidth - view.left;
    const bottom = geometry.gutterTop + plane.rows * geometry.cellHeight - view.top;
    context.fillStyle = ink.line;
    context.fillRect(geometry.gutterLeft, y + geometry.cellHeight / 2 - 0.5, right - geometry.gutterLeft, 1);
    context.fillRect(x + geometry.cellWidth / 2 - 0.5, geometry.gutterTop, 1, bottom - geometry.gutterTop);
    frame(selected, ink.strong, 2);
  }
  if (hovered) frame(hovered, ink.text, 1);
  context.restore();

  function cornerOf(cell: PlaneCell): { x: number; y: number } {
    return {
      x: geometry.gutterLeft + cell.column * geometry.cellWidth - view.left,
      y: geometry.gutterTop + cell.row * geometry.cellHeight - view.top,
    };
  }

  /** The frame is drawn around the cell, so that its colour can be seen. */
  function frame(cell: PlaneCell, colour: string, width: number): void {
    const { x, y } = cornerOf(cell);
    context.strokeStyle = colour;
    context.lineWidth = width;
    const room = width / 2;
    context.strokeRect(x - room, y - room, geometry.cellWidth + width, geometry.cellHeight + width);
  }
}

function clipToCells(
  context: CanvasRenderingContext2D,
  { geometry }: HeatMapPicture,
  view: HeatMapView,
): void {
  context.beginPath();
  context.rect(geometry.gutterLeft - 2, geometry.gutterTop - 2, view.width, view.height);
  context.clip();
}

/** Feature numbers in steps of 1, 2, 5, 10, ...; tokens as close as they can stand. */
function niceStep(least: number, rounded: boolean): number {
  if (!rounded || least <= 1) return Math.max(1, Math.ceil(least));
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= least) ?? least;
}

function isNear(index: number, other: number | undefined, distance: number): boolean {
  return other !== undefined && Math.abs(index - other) < distance;
}
