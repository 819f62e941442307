import type { HeadPlace } from "../../state/AppState";
import type { AllHeads } from "./headScores";

export interface GridGeometry {
  left: number;
  top: number;
  cellWidth: number;
  cellHeight: number;
  gap: number;
  height: number;
  /** Every so manieth block, and head, has its number beside it. */
  labelEvery: number;
  headLabelEvery: number;
}

const GUTTER_PX = 30;
const TOP_PX = 18;
const WIDEST_PX = 40;
const TALLEST_PX = 22;
const LOWEST_PX = 3;
/** What the cells may take together; many blocks are drawn lower. */
const HEIGHT_PX = 300;
const LABEL_HEIGHT_PX = 12;
const LABEL_WIDTH_PX = 20;

/** Cells that use the width, of a height that shows every block at once. */
export function layOutGrid(
  { blocks, columns }: Pick<AllHeads, "blocks" | "columns">,
  width: number,
): GridGeometry {
  const cellWidth = Math.min(WIDEST_PX, (width - GUTTER_PX) / Math.max(1, columns));
  const cellHeight = Math.max(LOWEST_PX, Math.min(TALLEST_PX, Math.floor(HEIGHT_PX / Math.max(1, blocks))));
  return {
    left: GUTTER_PX,
    top: TOP_PX,
    cellWidth,
    cellHeight,
    gap: Math.min(cellWidth, cellHeight) >= 6 ? 1 : 0,
    height: TOP_PX + blocks * cellHeight + 1,
    labelEvery: stepOf(LABEL_HEIGHT_PX / cellHeight),
    headLabelEvery: stepOf(LABEL_WIDTH_PX / cellWidth),
  };
}

export function headAtPoint(
  table: AllHeads,
  width: number,
  { x, y }: { x: number; y: number },
): HeadPlace | null {
  const { left, top, cellWidth, cellHeight } = layOutGrid(table, width);
  const place = { block: Math.floor((y - top) / cellHeight), head: Math.floor((x - left) / cellWidth) };
  return table.at(place.block, place.head) ? place : null;
}

/** The first round number that is not smaller: 1, 2, 5, 10, 20... */
function stepOf(least: number): number {
  for (let power = 1; ; power *= 10) {
    for (const step of [1, 2, 5]) if (step * power >= least) return step * power;
  }
}
