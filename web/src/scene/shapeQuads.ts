import type { Layout } from "../layout/Layout";
import type { Rect } from "../layout/Rect";
import { length } from "../layout/Vec3";
import type { FarQuad } from "./FarQuad";

const BEHIND = -8;

/** Nothing that is seen from afar is much nearer than what the camera looks at. */
const NEAREST = 0.8;
/** As in the shader: cells of less than this, in pixels, are not drawn. */
const CELL_PX = 5;

const isCell = ({ look }: FarQuad) => look === "cell";

/** Where the cells begin, and how high the largest is; found once for all frames. */
const CELLS = new WeakMap<readonly FarQuad[], { from: number; tallest: number }>();

/** How many of these quads can be seen at so many pixels a unit: cells come last, and are left out while small. */
export function countShown(quads: readonly FarQuad[], pixels: number): number {
  let cells = CELLS.get(quads);
  if (!cells) {
    const own = quads.filter(isCell);
    const tallest = own.reduce((most, { down }) => Math.max(most, length(down)), 0);
    cells = { from: quads.length - own.length, tallest };
    CELLS.set(quads, cells);
  }
  return (cells.tallest * pixels) / NEAREST < CELL_PX ? cells.from : quads.length;
}

/**
 * Models without values from afar, back to front, heads last: the spine of each, and the parts of its blocks. Where they are several,
 * the number of the model stands before each part.
 */
export function shapeQuads(layout: Layout): FarQuad[] {
  const isAlone = layout.beside.length === 0;
  const quads = [layout, ...layout.beside].flatMap((each, number) =>
    quadsOf(each, isAlone ? "" : `${number}:`),
  );
  return [...quads.filter((quad) => !isCell(quad)), ...quads.filter(isCell)];
}

function quadsOf({ spine, blocks }: Layout, model: string): FarQuad[] {
  const count = Math.max(1, blocks.length);
  const quads: FarQuad[] = [];
  const put = (look: FarQuad["look"], { corner, right, down }: Rect, block: number, part: string | null) => {
    const order = (block + (look === "wing" ? 0.7 : 0)) / count;
    quads.push({
      corner,
      right,
      down,
      look,
      part: part && model + part,
      order,
      boundary: block,
      position: -1,
    });
  };
  const body: Rect = {
    corner: [spine.left, spine.top, BEHIND],
    right: [spine.width, 0, 0],
    down: [0, spine.bottom - spine.top, 0],
  };
  put("body", body, 0, null);
  for (const { index, far } of blocks) {
    const { attention, heads, mlp, isMixer } = far;
    if (attention)
      put(isMixer ? "wing" : "card", attention, index, `${isMixer ? "mixer" : "attention"}.${index}`);
    for (const [head, rect] of heads.entries()) put("cell", rect, index, `head.${index}.${head}`);
    if (mlp) put("wing", mlp, index, `mlp.${index}`);
  }
  return quads;
}
