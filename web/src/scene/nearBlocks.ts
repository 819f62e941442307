import { type View, windowOf } from "../layout/Camera";
import type { BlockPlace, Layout, Spine } from "../layout/Layout";
import type { Plate } from "../layout/Plate";
import { fourCorners, middleOf, type Rect } from "../layout/Rect";
import type { Vec3 } from "../layout/Vec3";
import { type NearSpan, nearnessOf } from "./visiblePlates";

/** A side of a block: its card from afar, in whose place its matrices come. */
interface Side {
  corners: readonly Vec3[];
  /** Where it is judged how near the side is: as the shader does it for the card, and for its outermost heads. */
  points: readonly Vec3[];
}

interface Sides {
  attention: Side | null;
  stream: Side;
  mlp: Side | null;
}

/** A block that is drawn with all that is in it: its sides, and how near the nearest of those in view is. */
export interface NearBlock {
  block: BlockPlace;
  sides: Sides;
  nearness: number;
}

/** The blocks to draw with all that is in them: those of which something is near, and in view. */
export function nearBlocks(layout: Layout, view: View, span: NearSpan): NearBlock[] {
  const isInWindow = windowOf(view);
  return layout.blocks.flatMap((block) => {
    const sides = sidesOf(block, layout.spine);
    const seen = Object.values(sides).filter((side) => side && isInWindow(side.corners));
    const nearness = Math.max(0, ...seen.map((side) => nearnessAt(span, view, side.points)));
    return nearness > 0 ? [{ block, sides, nearness }] : [];
  });
}

/** Where it is judged how near a plate of a block is: where that is judged of the card that it takes the place of. */
export function pointsOf(plate: Plate, { left, width }: Spine, sides: Sides): readonly Vec3[] {
  const own = middleOf(plate);
  const side = own[0] < left ? sides.attention : own[0] > left + width ? sides.mlp : null;
  return side?.points ?? [own];
}

/** How near the nearest of these points is. */
export function nearnessAt(span: NearSpan, view: View, points: readonly Vec3[]): number {
  return Math.max(...points.map((point) => nearnessOf(span, view, point)));
}

function sidesOf({ bounds, far }: BlockPlace, spine: Spine): Sides {
  const [top, bottom] = [bounds.max[1], bounds.min[1]];
  const stream: Rect = {
    corner: [spine.left, top, 0],
    right: [spine.width, 0, 0],
    down: [0, bottom - top, 0],
  };
  const { attention, heads, mlp } = far;
  const outermost = heads.length > 0 ? [heads[0] as Rect, heads.at(-1) as Rect] : [];
  return {
    attention: attention && sideOf(attention, outermost),
    stream: sideOf(stream),
    mlp: mlp && sideOf(mlp),
  };
}

function sideOf(card: Rect, cells: readonly Rect[] = []): Side {
  return { corners: fourCorners(card), points: [card, ...cells].map(middleOf) };
}
