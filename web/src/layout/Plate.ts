import type { Cell } from "./Cell";
import { type Frame, normalOf, pointOn } from "./Frame";
import { add, scale, type Vec3 } from "./Vec3";

/** How a plate's two sides run over the axes of its tensor. */
export interface Side {
  /** Which axis of the tensor, by its place in `axes`; -1: none, the tensor has a single row. */
  axis: number;
  /** Cells at level 0, counting those still to come. */
  count: number;
}

export type Paint = "diverging" | "probability" | "weight";

/** Where in a block a plate has its place; decides what it is drawn as and when its label shows. */
export type Station = "stream" | "lens" | "output" | "head" | "wing" | "shelf" | "end";

/** A rectangle of glass that shows one matrix: a site or a weight, or one head of it. */
export interface Plate {
  name: string;
  kind: "site" | "weight";
  station: Station;
  block: number | null;
  axes: string[];
  /** Index along the leading axis (head, kv_head, expert); -1 where there is none. */
  lead: number;
  /** How many there are along the leading axes, drawn or not: all of them are fetched together. */
  leads: number;
  corner: Vec3;
  /** From the corner along the columns, over the whole width. */
  right: Vec3;
  /** From the corner along the rows, over the whole height. */
  down: Vec3;
  thickness: number;
  /** How strongly it shines from afar, where what matters must lead; near, all shine alike. */
  brightness: number;
  columns: Side;
  rows: Side;
  paint: Paint;
  /** When light passes: its beginning and end as fractions of the whole computation. */
  order: readonly [number, number];
  /** Why no value may be shown, if the self-check refused the site. */
  refused: string | null;
  /** Whether the self-check has not come to the site yet: it is drawn in outline, in its place. */
  unchecked: boolean;
  /** Sites and weights it is computed from. */
  inputs: string[];
}

/** The part of a plate that does not depend on where it lies. */
export type PlateSubject = Omit<Plate, "corner" | "right" | "down">;

export function plateOn(
  frame: Frame,
  x: number,
  y: number,
  width: number,
  height: number,
  subject: PlateSubject,
): Plate {
  return {
    ...subject,
    corner: pointOn(frame, x, y),
    right: scale(frame.right, width),
    down: scale(frame.down, height),
  };
}

/** The cell at `u`, `v` in 0..1 across and down the plate. */
export function cellOn(plate: Plate, u: number, v: number): Cell {
  const index = plate.axes.map(() => 0);
  if (plate.lead >= 0) index[0] = plate.lead;
  for (const [side, at] of [
    [plate.columns, u],
    [plate.rows, v],
  ] as const) {
    if (side.axis >= 0) index[side.axis] = Math.min(side.count - 1, Math.max(0, Math.floor(at * side.count)));
  }
  return { address: plate.name, index };
}

/** Whether the plate shows that cell (the right head, within the counts). */
export function shows(plate: Plate, cell: Cell): boolean {
  if (plate.name !== cell.address) return false;
  if (plate.lead >= 0 && cell.index[0] !== plate.lead) return false;
  return [plate.columns, plate.rows].every(
    (side) => side.axis < 0 || (cell.index[side.axis] ?? 0) < side.count,
  );
}

/** The column and row of a cell that the plate shows. */
export function placeOn(plate: Plate, cell: Cell): { column: number; row: number } {
  const at = (side: Side) => (side.axis < 0 ? 0 : (cell.index[side.axis] ?? 0));
  return { column: at(plate.columns), row: at(plate.rows) };
}

/** The centre of a cell on the plate's face, in the world. */
export function pointOfCell(plate: Plate, cell: Cell): Vec3 {
  const { column, row } = placeOn(plate, cell);
  return pointAt(plate, (column + 0.5) / plate.columns.count, (row + 0.5) / plate.rows.count);
}

export function pointAt(plate: Plate, u: number, v: number): Vec3 {
  return add(plate.corner, add(scale(plate.right, u), scale(plate.down, v)));
}

export function normalOfPlate(plate: Plate): Vec3 {
  return normalOf({ corner: plate.corner, right: plate.right, down: plate.down });
}
