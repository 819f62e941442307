import type { Block, Site } from "../protocol/schema.generated";
import { expertsOf } from "./expertsOf";
import type { FarBlock } from "./FarBlock";
import type { Mosaic } from "./Mosaic";
import type { Place } from "./Place";
import type { Rect } from "./Rect";
import { add, length, scale, subtract } from "./Vec3";

/** The tile of an expert is about this many times as wide as high: its tokens stand side by side. */
const EXPERT_WIDE = 2.4;
/** Of an expert's room, what its cell fills, across and down. */
const EXPERT_FILL = [0.9, 0.84] as const;
/** More experts than this would each be too small to be seen. */
const EXPERTS_MAX = 1024;

/** The mosaics of a block: of its heads, if what they read may be shown, and of its experts. */
export function layoutMosaics(block: Block, far: Omit<FarBlock, "mosaics">, place: Place): Mosaic[] {
  const { maker } = place;
  const mosaics: Mosaic[] = [];
  const put = (point: string, kind: Mosaic["kind"], rows: number, grid: Grid | null) => {
    const site = block.sites.find((each) => each.point === point);
    if (!site || !grid || site.check.status === "refused") return;
    mosaics.push({
      ...grid,
      kind,
      rows,
      block: block.index,
      name: site.address,
      columns: maker.columns,
      order: maker.order.get(site.address) ?? [0, 0],
      unchecked: isUnchecked(site),
    });
  };
  put("attn_probs", "heads", maker.columns, rowOf(far.heads));
  const count = expertsOf(block);
  if (far.mlp && count <= EXPERTS_MAX) put("expert_weights", "experts", 1, gridOf(far.mlp, count));
  return mosaics;
}

type Grid = Rect & Pick<Mosaic, "count" | "tilesAcross" | "tilesDown" | "fill">;

/** The heads' cells as they stand from afar, in one row. */
function rowOf(cells: readonly Rect[]): Grid | null {
  const [first, second] = cells;
  if (!first) return null;
  const width = length(first.right);
  const pitch = second ? length(subtract(second.corner, first.corner)) : width;
  const room = scale(first.right, pitch / width);
  return {
    corner: add(first.corner, scale(room, (width / pitch - 1) / 2)),
    right: scale(room, cells.length),
    down: first.down,
    count: cells.length,
    tilesAcross: cells.length,
    tilesDown: 1,
    fill: [width / pitch, 1],
  };
}

/** As many rows of experts as make their tiles the best to look at. */
function gridOf(wing: Rect, count: number): Grid {
  const [width, height] = [length(wing.right), length(wing.down)];
  let best = { tilesAcross: 1, size: 0 };
  for (let tilesAcross = 1; tilesAcross <= count; tilesAcross++) {
    const tall = height / Math.ceil(count / tilesAcross);
    const size = Math.min(width / tilesAcross / EXPERT_WIDE, tall);
    if (size > best.size) best = { tilesAcross, size };
  }
  const tilesDown = Math.ceil(count / best.tilesAcross);
  return { ...wing, count, tilesAcross: best.tilesAcross, tilesDown, fill: EXPERT_FILL };
}

function isUnchecked({ check }: Site): boolean {
  return check.status === "unchecked" || check.status === "shape";
}
