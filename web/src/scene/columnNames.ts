import { FIELD_OF_VIEW, rayAt, type View } from "../layout/Camera";
import type { Label, Layout } from "../layout/Layout";
import { columnAt } from "../layout/layoutTiles";
import { add, scale } from "../layout/Vec3";
import type { Token } from "../protocol/schema.generated";
import { tileText } from "./tileText";

/** Columns narrower than this on the screen go without names. */
const COLUMN_PX = 16;
/** Below the panels at the top, in pixels. */
const DROP_PX = 14;

/**
 * The tokens' texts over their columns at the top of the window, while the tiles themselves are out of sight: whoever
 * has come near still knows whose column is whose.
 */
export function columnNames(layout: Layout, tokens: readonly Token[], view: View, topPx: number): Label[] {
  const focal = view.height / 2 / Math.tan(FIELD_OF_VIEW / 2);
  const { spine } = layout;
  const pitch = spine.width / layout.columns;
  if ((pitch * focal) / view.pose.distance < COLUMN_PX) return [];
  const ray = rayAt(view, view.width / 2 + view.offset.x, topPx + DROP_PX);
  const [, y] = add(ray.origin, scale(ray.direction, -ray.origin[2] / ray.direction[2]));
  if (y > spine.top || y < spine.bottom) return [];
  return tokens.map(
    (token, pos): Label => ({
      text: tileText(token.text),
      at: [columnAt(layout, pos), y, 0],
      align: "center",
      priority: 5,
      span: pitch,
      rise: 0,
      role: "token",
      name: null,
    }),
  );
}
