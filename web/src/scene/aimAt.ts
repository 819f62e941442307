import type { TilePlace } from "../layout/Layout";
import type { Ray } from "../layout/pickCell";
import { pickTile } from "../layout/pickTile";
import type { FarView } from "./FarView";
import type { SceneOptions } from "./Scene";
import type { SkylinePlace } from "./Skyline";

/** What of the far view stands at a pixel. */
export interface Aim {
  /** A token's tile: its position; -1: none. */
  tile: number;
  /** A bar of the skyline: its word. */
  bar: number | null;
  part: string | null;
  /** The number of the part's rectangle; -1: none. */
  quad: number;
}

export const NO_AIM: Aim = { tile: -1, bar: null, part: null, quad: -1 };

/** What a ray meets: a tile, a bar, or a part of the far view. */
export function aimAt(
  ray: Ray,
  tiles: readonly TilePlace[],
  bars: readonly SkylinePlace[],
  far: FarView,
): Aim {
  const tile = pickTile(ray, tiles);
  if (tile >= 0) return { ...NO_AIM, tile, part: `token.${tile}` };
  const bar = bars[pickTile(ray, bars)]?.tokenId;
  if (bar !== undefined) return { ...NO_AIM, bar };
  const quad = far.pick(ray);
  return { ...NO_AIM, quad, part: far.quads[quad]?.part ?? null };
}

/** Tells what of the far view was clicked; false where that was nothing. */
export function tellClick(
  { tile, bar, part }: Aim,
  options: Pick<SceneOptions, "onTile" | "onBar" | "onPartClick">,
): boolean {
  if (tile >= 0) options.onTile(tile);
  else if (bar !== null) options.onBar(bar);
  else if (part !== null) options.onPartClick(part);
  else return false;
  return true;
}
