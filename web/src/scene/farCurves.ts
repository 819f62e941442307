import type { FarArc } from "../layout/farArcs";
import { arcStart } from "../layout/farLabels";
import { floorOf } from "../layout/floorOf";
import type { Layout, TilePlace } from "../layout/Layout";
import { columnAt } from "../layout/layoutTiles";
import { add, scale, type Vec3 } from "../layout/Vec3";
import type { Curve } from "./Curve";

const WIDTH_PX = 1.1;
const WIDER_PX = 5;
/** How far an arc comes forward, as a share of the way it goes across. */
/** An arc stronger than this is joined to its head. */
const BEAM_FROM = 0.3;
const FORWARD = 0.12;
/** An arc arrives in the middle of its block. */
const DOWN = 0.55;

/** Arcs from the words that heads read to the column that is read, and the paths of light down to where they begin. */
export function farCurves(
  layout: Layout,
  arcs: readonly FarArc[],
  position: number,
  tiles: readonly TilePlace[],
  opacity: (arc: FarArc) => number,
): Curve[] {
  const count = Math.max(1, layout.blocks.length);
  const floor = floorOf(layout);
  const to = columnAt(layout, position);
  const curves: Curve[] = [];
  const lowest = new Map<number, FarArc>();
  for (const arc of arcs) {
    const start = arcStart(layout, arc.block, arc.position);
    const end: Vec3 = [to, start[1] - floor * DOWN, 2];
    const across = end[0] - start[0];
    const out = Math.abs(across) * FORWARD + 4;
    const own = opacity(arc);
    curves.push({
      points: [
        start,
        [start[0] + across * 0.45, start[1], out],
        [start[0] + across * 0.55, end[1], out],
        end,
      ],
      order: [arc.block / count, (arc.block + 0.5) / count],
      widthPx: WIDTH_PX + WIDER_PX * arc.strength,
      strength: (0.4 + 0.6 * arc.strength) * own,
      token: arc.position,
      selected: false,
      hue: arc.sign,
    });
    // From the head on its side of the spine to what it reads.
    const head = layout.blocks[arc.block]?.far.heads[arc.heads[0] ?? -1];
    if (head && arc.strength > BEAM_FROM) {
      const from = add(head.corner, add(head.right, scale(head.down, 0.5)));
      const way = start[0] - from[0];
      curves.push({
        points: [from, [from[0] + way * 0.4, from[1], from[2]], [start[0] - way * 0.2, start[1], 0], start],
        order: [arc.block / count, (arc.block + 0.3) / count],
        widthPx: 1,
        strength: (0.15 + 0.35 * arc.strength) * own,
        token: arc.position,
        selected: false,
        hue: arc.sign,
      });
    }
    const before = lowest.get(arc.position);
    if (!before || arc.strength > before.strength) lowest.set(arc.position, arc);
  }
  for (const [from, arc] of lowest) {
    const start = arcStart(layout, arc.block, from);
    const top: Vec3 = [start[0], layout.spine.top, -2];
    const down = start[1] - top[1];
    const look = {
      widthPx: 1.4,
      strength: (0.12 + 0.5 * arc.strength) * opacity(arc),
      token: from,
      selected: false,
      hue: arc.sign,
    };
    curves.push({
      ...look,
      points: [top, [top[0], top[1] + down / 3, -2], [top[0], top[1] + (down * 2) / 3, -2], start],
      order: [0, arc.block / count],
    });
    const tile = tiles[from];
    if (!tile) continue;
    const foot: Vec3 = [tile.corner[0] + tile.width / 2, tile.corner[1] - tile.height, -2];
    const drop = foot[1] - top[1];
    curves.push({
      ...look,
      points: [foot, [foot[0], foot[1] - drop * 0.55, -4], [top[0], top[1] + drop * 0.4, -4], top],
      order: [0, 0.01],
    });
  }
  return curves;
}
