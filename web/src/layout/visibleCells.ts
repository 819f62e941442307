import { rayAt, type View } from "./Camera";
import type { Plate } from "./Plate";
import { fractionsAt } from "./pickCell";

/** Columns and rows of a plate, both ends included; empty where the right is before the left. */
export interface CellRange {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

/** The columns and rows that can be on the screen: where rays through its corners and edges meet the plate. */
export function visibleCells(plate: Plate, view: View): CellRange {
  const seen = { left: plate.columns.count, right: -1, top: plate.rows.count, bottom: -1 };
  for (let i = 0; i <= 4; i++) {
    for (let j = 0; j <= 4; j++) {
      const at = fractionsAt(rayAt(view, (i / 4) * view.width, (j / 4) * view.height), plate);
      if (!at) continue;
      seen.left = Math.min(seen.left, Math.floor(at.u * plate.columns.count) - 1);
      seen.right = Math.max(seen.right, Math.ceil(at.u * plate.columns.count));
      seen.top = Math.min(seen.top, Math.floor(at.v * plate.rows.count) - 1);
      seen.bottom = Math.max(seen.bottom, Math.ceil(at.v * plate.rows.count));
    }
  }
  return {
    left: Math.max(0, seen.left),
    right: Math.min(plate.columns.count - 1, seen.right),
    top: Math.max(0, seen.top),
    bottom: Math.min(plate.rows.count - 1, seen.bottom),
  };
}
