import type { Reading } from "../protocol/schema.generated";
import { floorOf } from "./floorOf";
import type { Label, Layout } from "./Layout";
import { cellRect } from "./Mosaic";
import type { Rect } from "./Rect";
import { add, length } from "./Vec3";

/** Of a cell's width, what words on it may take. */
const ROOM = 0.94;
/** Of experts, those that were chosen are named before the others. */
const CHOSEN_FIRST = 5;

/**
 * On the cells of a block's heads, once they are large enough: the number, and the word that each carries most of. They stand
 * on the right, over what a pattern leaves empty.
 */
export function headLabels(
  layout: Layout,
  block: number,
  reading: Reading | null,
  textOf: (position: number) => string,
): Label[] {
  const reads = new Map(
    reading?.attention.filter((each) => each.block === block).map((each) => [each.head, each]),
  );
  return (layout.blocks[block]?.far.heads ?? []).map((rect, head): Label => {
    const { positions = [], carried = [] } = reads.get(head) ?? {};
    const most = carried.indexOf(Math.max(...carried));
    const position = positions[most];
    return {
      ...base(layout, rect),
      text: position === undefined ? `${head}` : `${head} · ${textOf(position)}`,
      short: `${head}`,
      at: add(rect.corner, rect.right),
      align: "right",
    };
  });
}

/** The numbers of all experts of a block, those that were chosen before the others. */
export function expertLabels(
  layout: Layout,
  block: number,
  chosen: ReadonlyMap<number, readonly number[]>,
): Label[] {
  const all = layout.blocks[block]?.far.mosaics.find(({ kind }) => kind === "experts");
  if (!all) return [];
  return Array.from({ length: all.count }, (_, expert): Label => {
    const rect = cellRect(all, expert);
    const own = base(layout, rect);
    const isChosen = chosen.get(block)?.includes(expert) ?? false;
    return {
      ...own,
      text: `${expert}`,
      at: rect.corner,
      align: "left",
      rise: own.rise / all.tilesDown,
      priority: own.priority - (isChosen ? CHOSEN_FIRST : 0),
      strength: isChosen ? 1 : 0.6,
    };
  });
}

function base(layout: Layout, rect: Rect) {
  return {
    priority: 40,
    span: length(rect.right) * ROOM,
    rise: floorOf(layout),
    role: "reads" as const,
    name: null,
    strength: 0.85,
  };
}
