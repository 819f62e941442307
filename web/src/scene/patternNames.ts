import { FIELD_OF_VIEW, project, type View } from "../layout/Camera";
import { isPattern } from "../layout/isMasked";
import type { Label } from "../layout/Layout";
import { type Plate, pointAt } from "../layout/Plate";
import { length } from "../layout/Vec3";
import { type CellRange, visibleCells } from "../layout/visibleCells";
import type { Token } from "../protocol/schema.generated";
import { tileText } from "./tileText";

/** Rows lower than this on the screen go without names, and columns narrower than that. */
const ROW_PX = 12;
const COLUMN_PX = 22;

/**
 * Who looks, beside the rows of an attention pattern, and at whom, over its columns. Where an edge is out of sight, the names
 * stand at the first cells that are not.
 */
export function patternNames(plates: readonly Plate[], tokens: readonly Token[], view: View): Label[] {
  const focal = view.height / 2 / Math.tan(FIELD_OF_VIEW / 2);
  return plates.flatMap((plate) => {
    if (!isPattern(plate.axes) || plate.refused) return [];
    const middle = project(view, pointAt(plate, 0.5, 0.5));
    const depth = Math.max(view.pose.distance * 0.6, (middle?.depth ?? 0) - length(plate.right));
    const pxOf = (side: number) => (side * focal) / depth;
    const [width, height] = [
      length(plate.right) / plate.columns.count,
      length(plate.down) / plate.rows.count,
    ];
    if (pxOf(height) < ROW_PX) return [];
    const seen = visibleCells(plate, view);
    const rows = namesOf(tokens, seen.top, seen.bottom).map(({ text, index }): Label => {
      const v = (index + 0.5) / plate.rows.count;
      return labelOf(text, pointAt(plate, edgeOf(seen.left, plate.columns.count), v), "right", 0);
    });
    if (pxOf(width) < COLUMN_PX) return rows;
    const columns = namesOf(tokens, seen.left, seen.right).map(({ text, index }): Label => {
      const u = (index + 0.5) / plate.columns.count;
      return labelOf(text, pointAt(plate, u, edgeOf(seen.top, plate.rows.count)), "center", width);
    });
    return [...rows, ...columns];
  });
}

/** The plate's own edge while that can be seen, else one cell further in than the window's. */
function edgeOf(first: CellRange["left"], count: number): number {
  return first === 0 ? 0 : (first + 1) / count;
}

function namesOf(tokens: readonly Token[], first: number, last: number): { text: string; index: number }[] {
  return tokens
    .slice(first, last + 1)
    .map((token, at) => ({ text: tileText(token.text), index: first + at }));
}

function labelOf(text: string, at: Label["at"], align: Label["align"], span: number): Label {
  return { text, at, align, priority: 8, span, rise: 0, role: "token", name: null };
}
