import type { Layout } from "../layout/Layout";
import { expertCells } from "../layout/layoutFar";
import { columnAt } from "../layout/layoutTiles";
import { cellRect } from "../layout/Mosaic";
import type { Rect } from "../layout/Rect";
import type { FarQuad } from "./FarQuad";

/** More columns than this are drawn together, several tokens in one. */
const COLUMNS_MAX = 64;
/** A column's width, as a share of its room; and the most, as a share of the spine. */
const COLUMN_SHARE = 0.34;
const COLUMN_MAX = 0.012;
/** The column that is read stands out. */
const VOICE_WIDER = 1.5;
const BEHIND = -8;

/**
 * The model from afar, back to front. `position` is the one that is read, -1 where none is; `experts` are the numbers
 * of those that were chosen there in a block.
 */
export function farQuads(
  layout: Layout,
  position: number,
  experts: ReadonlyMap<number, readonly number[]>,
): FarQuad[] {
  const { spine, boundaries, blocks } = layout;
  const count = Math.max(1, blocks.length);
  const quads: FarQuad[] = [];
  const put = (
    look: FarQuad["look"],
    { corner, right, down }: Rect,
    boundary: number,
    part: string | null,
    other: Partial<FarQuad> = {},
  ) => {
    const order = (boundary + (look === "wing" ? 0.7 : look === "cell" ? 0.35 : 0)) / count;
    quads.push({ corner, right, down, look, part, order, boundary, position: -1, ...other });
  };
  put(
    "body",
    {
      corner: [spine.left, spine.top, BEHIND],
      right: [spine.width, 0, 0],
      down: [0, spine.bottom - spine.top, 0],
    },
    0,
    null,
  );
  for (const { index, far } of blocks) {
    const { attention, whole, heads, mlp, isMixer, isRouted, mosaics } = far;
    if (attention) put("card", attention, index, null);
    if (whole) put("cell", whole, index, `attention.${index}`);
    if (attention && isMixer) put("cell", attention, index, `mixer.${index}`);
    for (const [head, rect] of heads.entries()) put("cell", rect, index, `head.${index}.${head}`);
    if (mlp) put(isRouted ? "card" : "wing", mlp, index, `mlp.${index}`);
    if (mlp && isRouted) {
      const chosen = experts.get(index) ?? [];
      const all = mosaics.find(({ kind }) => kind === "experts");
      expertCells(mlp, chosen.length).forEach((rect, at) => {
        const part = `expert.${index}.${chosen[at]}`;
        put("cell", rect, index, part, all && { mosaic: "goes" });
        if (all) put("cell", cellRect(all, chosen[at] ?? 0), index, part, { mosaic: "comes" });
      });
    }
  }
  // A piece of column from each boundary to the next; the first begins above it, the last ends below.
  const pieces = boundaries.map((y, boundary) => {
    const top = boundary === 0 ? spine.top : y;
    return { boundary, top, down: (boundaries[boundary + 1] ?? spine.bottom) - top };
  });
  const step = tokensPerColumn(position);
  const pitch = spine.width / layout.columns;
  const width = Math.min(pitch * step * COLUMN_SHARE, spine.width * COLUMN_MAX);
  for (let at = 0; at <= position; at += step) {
    if (step === 1 && at === position) break;
    const x = (columnAt(layout, at) + columnAt(layout, Math.min(position, at + step - 1))) / 2;
    for (const { boundary, top, down } of pieces) {
      const rect: Rect = {
        corner: [x - width / 2, top, BEHIND + 2],
        right: [width, 0, 0],
        down: [0, down, 0],
      };
      put("column", rect, boundary, null, { position: at });
    }
  }
  const own = Math.max(width * VOICE_WIDER, spine.width * COLUMN_MAX);
  for (const { boundary, top, down } of position < 0 ? [] : pieces) {
    const x = columnAt(layout, position) - own / 2;
    const rect: Rect = { corner: [x, top, BEHIND + 3], right: [own, 0, 0], down: [0, down, 0] };
    put("voice", rect, boundary, null, { position });
  }
  return quads;
}

/** How many tokens share a column. */
export function tokensPerColumn(position: number): number {
  return Math.max(1, Math.ceil((position + 1) / COLUMNS_MAX));
}
