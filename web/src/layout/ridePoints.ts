import { floorOf } from "./floorOf";
import type { Layout, TilePlace } from "./Layout";
import { columnAt } from "./layoutTiles";
import type { RideStop } from "./RideStop";
import { add, scale, type Vec3 } from "./Vec3";

/** Around a stop of the ride, so many blocks are seen above and below. */
const BLOCKS = 1.1;
/** And so much of the spine to the left and right of the column. */
const LEFT_SHARE = 0.7;
const RIGHT_SHARE = 0.5;

/**
 * What the camera shows at a stop of the ride down a token's column: the column there, and the part that it is about; at
 * the first stop, which tells of the token, its tile.
 */
export function ridePoints(
  layout: Layout,
  { boundary, part }: RideStop,
  position: number,
  tiles: readonly TilePlace[],
): Vec3[] {
  const { spine, boundaries, blocks } = layout;
  const floor = floorOf(layout);
  const y = boundaries[Math.min(boundary, boundaries.length - 1)] ?? spine.top;
  const x = columnAt(layout, position);
  const points: Vec3[] = [
    [x - spine.width * LEFT_SHARE, y + floor * BLOCKS, 0],
    [x + spine.width * RIGHT_SHARE, y - floor * BLOCKS, 0],
  ];
  const [kind, block, number] = (part ?? "").split(".");
  const far = blocks[Number(block)]?.far;
  const rects = {
    mlp: far?.mlp,
    head: far?.heads[Number(number)],
    attention: far?.whole,
    mixer: far?.attention,
  };
  const rect = rects[kind as keyof typeof rects];
  if (rect)
    for (const share of [0, 1])
      points.push(add(rect.corner, add(scale(rect.right, share), scale(rect.down, 0.5))));
  const tile = kind === "token" ? tiles[Number(block)] : undefined;
  if (tile) points.push(tile.corner, add(tile.corner, [tile.width, -tile.height, 0]));
  return points;
}
