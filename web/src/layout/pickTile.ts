import type { TilePlace } from "./Layout";
import type { Ray } from "./pickCell";

/** Which tile a ray meets: its token's position; -1 for none. Tiles stand in the plane z = 0. */
export function pickTile(ray: Ray, tiles: readonly TilePlace[]): number {
  const reach = -ray.origin[2] / ray.direction[2];
  const x = ray.origin[0] + ray.direction[0] * reach;
  const y = ray.origin[1] + ray.direction[1] * reach;
  return tiles.findIndex(
    ({ corner, width, height }) =>
      x >= corner[0] && x <= corner[0] + width && y <= corner[1] && y >= corner[1] - height,
  );
}
