import type { Layout, TilePlace } from "./Layout";
import { add, type Vec3 } from "./Vec3";

/** Width of a block's name, in units of the text size. */
const NAME_EMS = 4;

/** The outermost points of a layout and its tiles: what the first camera must hold. */
export function fitPoints(layout: Layout, tiles: readonly TilePlace[]): Vec3[] {
  const { min, max } = layout.bounds;
  // The first tile stands highest; a long text can have more rows than there is room for.
  const top = Math.max(max[1], tiles[0]?.corner[1] ?? max[1]);
  const points: Vec3[] = [
    [-layout.tiles.width / 2, top, 0],
    [layout.tiles.width / 2, top, 0],
    [-layout.skyline.width / 2, min[1], 0],
    [layout.skyline.width / 2, min[1], 0],
  ];
  for (const { bounds } of layout.blocks)
    points.push(bounds.min, [bounds.max[0], bounds.min[1], bounds.min[2]]);
  const name = layout.blocks[0]?.label;
  if (name) points.push(add(name.at, [-layout.tiles.size * NAME_EMS, 0, 0]));
  return points;
}
