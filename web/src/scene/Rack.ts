import type { Layout, TilePlace } from "../layout/Layout";
import { columnAt } from "../layout/layoutTiles";
import type { Vec3 } from "../layout/Vec3";
import type { Token } from "../protocol/schema.generated";
import type { Curve } from "./Curve";
import type { Light } from "./LightPass";
import type { Palette } from "./palette";
import type { Slab } from "./Slab";
import type { TextLine } from "./TextLine";
import { tileText } from "./tileText";

/** With more tokens than this only the thread of the lit token is drawn, since all would hide what is behind. */
const THREADS_MAX = 160;
const TILE_DEPTH = 5;
/** Tiles light one after the other in the first moments of the pass of light. */
const SLIDE_SHARE = 0.04;
/** Threads run behind the plates of the stream. */
const BEHIND = 6;

export interface RackParts {
  slabs: Slab[];
  lines: TextLine[];
  curves: Curve[];
}

/** The tokens as tiles, with threads to their columns and on down the spine. */
export function buildRack(
  tokens: readonly Token[],
  places: readonly TilePlace[],
  promptCount: number,
  layout: Layout,
  palette: Palette,
  lit: number,
  arriving: Light["arriving"],
): RackParts {
  const parts: RackParts = { slabs: [], lines: [], curves: [] };
  tokens.forEach((token, pos) => {
    const place = places[pos];
    if (!place) return;
    const onItsWay = arriving?.token === pos;
    const [x, y] = onItsWay ? flightOf(place, layout, arriving.share) : place.corner;
    const own = pos >= promptCount;
    parts.slabs.push({
      corner: [x, y - place.height, 0],
      width: place.width,
      height: place.height,
      depth: TILE_DEPTH,
      color: token.special ? palette.quietText : own ? palette.probability[1] : palette.glass,
      light: pos === lit ? 0.75 : own ? 0.34 : token.special ? 0.1 : 0.17,
      edge: pos === lit ? 1 : 0.3,
      order: (pos / tokens.length) * SLIDE_SHARE,
    });
    const { size } = place;
    parts.lines.push({
      text: tileText(token.text),
      face: token.special ? "mono" : "sans",
      at: [x + place.width / 2, y - place.height * 0.5 - size * 0.32, 0.5],
      color: token.special ? palette.quietText : palette.text,
      alpha: 1,
      align: "center",
      right: [token.special ? size * 0.8 : size, 0, 0],
      up: [0, token.special ? size * 0.8 : size, 0],
    });
    if (onItsWay || (tokens.length > THREADS_MAX && pos !== lit)) return;
    const column = columnAt(layout, pos);
    const top = layout.towers[0]?.top ?? 0;
    const from: Vec3 = [x + place.width / 2, y - place.height, -TILE_DEPTH];
    const drop = from[1] - top;
    parts.curves.push({
      points: [
        from,
        [from[0], from[1] - drop * 0.55, -BEHIND],
        [column, top + Math.min(26, drop * 0.8), -BEHIND],
        [column, top, -BEHIND],
      ],
      order: [(pos / tokens.length) * SLIDE_SHARE, SLIDE_SHARE * 1.1],
      widthPx: 1,
      strength: 0.3,
      token: pos,
      selected: false,
    });
    layout.towers.forEach((tower, index) => {
      const [column, count] = [columnAt(layout, pos, index), layout.towers.length];
      const at = (share: number): Vec3 => [column, tower.top + (tower.bottom - tower.top) * share, -BEHIND];
      parts.curves.push({
        points: [at(0), at(1 / 3), at(2 / 3), at(1)],
        order: [index / count, (index + 1) / count],
        widthPx: 1,
        strength: 0.2,
        token: pos,
        selected: false,
      });
    });
  });
  return parts;
}

/** Where a new tile is on its way from the skyline, where its word was chosen, to its place among the tokens. */
function flightOf(place: TilePlace, layout: Layout, share: number): Vec3 {
  const from: Vec3 = [-place.width / 2, layout.skyline.corner[1] - layout.skyline.height * 0.4, 0];
  return [0, 1, 2].map((axis) => {
    const start = from[axis] as number;
    return start + ((place.corner[axis] as number) - start) * share;
  }) as unknown as Vec3;
}

/** Ids under the texts, once a tile is near enough to carry two lines. */
export function tileIds(
  tokens: readonly Token[],
  places: readonly TilePlace[],
  palette: Palette,
): TextLine[] {
  return tokens.flatMap((token, pos) => {
    const place = places[pos];
    if (!place) return [];
    const size = place.size * 0.3;
    return [
      {
        text: `${token.id}`,
        face: "mono" as const,
        at: [place.corner[0] + place.width / 2, place.corner[1] - place.height + size * 0.4, 0.5] as Vec3,
        color: palette.quietText,
        alpha: 1,
        align: "center" as const,
        right: [size, 0, 0] as Vec3,
        up: [0, size, 0] as Vec3,
      },
    ];
  });
}
