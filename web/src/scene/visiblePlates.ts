import { FIELD_OF_VIEW, project, type View } from "../layout/Camera";
import type { BlockPlace, Layout } from "../layout/Layout";
import { type Plate, pointAt } from "../layout/Plate";
import { length } from "../layout/Vec3";
import { wantedLevel } from "../layout/wantedLevel";
import type { Wanted } from "./Wanted";

/** A model of up to so many blocks is always drawn whole. */
const FEW_BLOCKS = 14;
/** A block smaller than this on the screen is drawn as its stream alone. */
const DETAIL_PX = 34;
/** Each head raises `DETAIL_PX` by this: with many heads, their cards would be too small to show anything. */
const HEAD_PX = 0.7;
/** From which size on the screen the values of a weight, or of a site, are fetched. */
const WEIGHT_PX = 7;
const SITE_PX = 2;
/** A weight of fewer cells is always fetched in full; of a larger one, a cell may be this many pixels wide. */
const WEIGHTS = { small: 1 << 11, cellPx: 2 };

/** The blocks to draw with all that is in them. */
export function detailedBlocks(layout: Layout, view: View): BlockPlace[] {
  if (layout.blocks.length <= FEW_BLOCKS) return layout.blocks;
  const focal = view.height / 2 / Math.tan(FIELD_OF_VIEW / 2);
  return layout.blocks.filter(({ bounds, heads }) => {
    const middle = project(view, [
      (bounds.min[0] + bounds.max[0]) / 2,
      (bounds.min[1] + bounds.max[1]) / 2,
      0,
    ]);
    if (!middle) return false;
    const heightPx = ((bounds.max[1] - bounds.min[1]) * focal) / middle.depth;
    const widthPx = ((bounds.max[0] - bounds.min[0]) * focal) / middle.depth;
    return (
      heightPx > DETAIL_PX + heads * HEAD_PX &&
      middle.y > -heightPx &&
      middle.y < view.height + heightPx &&
      middle.x > -widthPx &&
      middle.x < view.width + widthPx
    );
  });
}

/** What the camera can see of these plates, and at which level; in order of computation, weights last. */
export function wantedOf(plates: readonly Plate[], view: View, hasValues: boolean): Wanted[] {
  const focal = view.height / 2 / Math.tan(FIELD_OF_VIEW / 2);
  const wanted = new Map<string, Wanted & { turn: number }>();
  for (const plate of plates) {
    if (plate.name === "" || plate.refused || (plate.kind === "site" && !hasValues)) continue;
    const middle = project(view, pointAt(plate, 0.5, 0.5));
    if (!middle) continue;
    const [width, height] = [length(plate.right), length(plate.down)].map(
      (side) => (side * focal) / middle.depth,
    ) as [number, number];
    const reach = Math.max(width, height) / 2;
    if (
      middle.x < -reach ||
      middle.y < -reach ||
      middle.x > view.width + reach ||
      middle.y > view.height + reach
    )
      continue;
    if (Math.max(width, height) < (plate.kind === "weight" ? WEIGHT_PX : SITE_PX)) continue;
    const level = wantedLevel(
      plate.columns.count,
      plate.rows.count,
      width,
      height,
      plate.leads,
      plate.kind === "weight" ? WEIGHTS : {},
    );
    const before = wanted.get(plate.name);
    if (!before || level < before.level) {
      wanted.set(plate.name, {
        name: plate.name,
        kind: plate.kind,
        level,
        turn: plate.order[0] + (plate.kind === "weight" ? 2 : 0),
      });
    }
  }
  return [...wanted.values()]
    .sort((a, b) => a.turn - b.turn)
    .map(({ name, kind, level }) => ({ name, kind, level }));
}
