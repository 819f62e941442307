import type { Color } from "three";
import type { Layout, TilePlace } from "../layout/Layout";
import { columnAt } from "../layout/layoutTiles";
import type { Vec3 } from "../layout/Vec3";
import type { Token } from "../protocol/schema.generated";
import type { Curve } from "./Curve";
import type { Light } from "./LightPass";
import type { Palette } from "./palette";
import type { RankedLine } from "./readableLines";
import type { Slab } from "./Slab";
import type { TextLine } from "./TextLine";
import { tileFace, tileText } from "./tileText";

/** With more tokens than this only the thread of the lit token is drawn, since all would hide what is behind. */
const THREADS_MAX = 160;
const TILE_DEPTH = 5;
/** A hidden word stays to be read under its line, which is this thick, in units of the text size. */
const OFF_ALPHA = 0.55;
const STRIKE = 0.05;
/** Tiles light one after the other in the first moments of the pass of light. */
const SLIDE_SHARE = 0.04;
/** Threads run behind the plates of the stream. */
const BEHIND = 6;

export interface RackParts {
  slabs: Slab[];
  lines: RankedLine[];
  curves: Curve[];
}

/** How the words of a text are lit by a reading. */
export interface TokenLights {
  /** The position that is read; -1: none. */
  position: number;
  /** How much a word is needed there: -1..1, 0 where that is unknown. */
  light(position: number): number;
  /** Whether a word is hidden from the position that is read. */
  isOff(position: number): boolean;
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
  reading: TokenLights,
  isFar: boolean,
): RackParts {
  const parts: RackParts = { slabs: [], lines: [], curves: [] };
  tokens.forEach((token, pos) => {
    const place = places[pos];
    if (!place) return;
    const onItsWay = arriving?.token === pos;
    const [x, y] = onItsWay ? flightOf(place, layout, arriving.share) : place.corner;
    const own = pos >= promptCount;
    const isOff = reading.isOff(pos);
    const need = onItsWay || isOff ? 0 : reading.light(pos);
    const plain = token.special ? palette.quietText : own ? palette.probability[1] : palette.glass;
    parts.slabs.push({
      corner: [x, y - place.height, 0],
      width: place.width,
      height: place.height,
      depth: TILE_DEPTH,
      color: need ? plain.clone().lerp(hueOf(need, palette), Math.min(1, Math.abs(need) * 4)) : plain,
      light:
        pos === lit ? 0.75 : need ? 0.17 + 0.8 * Math.abs(need) : own ? 0.34 : token.special ? 0.1 : 0.17,
      edge: pos === lit || pos === reading.position ? 1 : 0.3,
      order: (pos / tokens.length) * SLIDE_SHARE,
    });
    const { size } = place;
    const set = tileFace(token);
    if (isOff) parts.slabs.push(strikeOf(place, palette));
    parts.lines.push({
      // Where not all can be read, those that are needed stay, and the one that is read.
      rank: 1 - Math.abs(need) - (pos === reading.position || pos === lit ? 1 : 0),
      text: tileText(token.text),
      face: set.face,
      at: [x + place.width / 2, y - place.height * 0.5 - size * 0.32, 0.5],
      color: token.special ? palette.quietText : palette.text,
      alpha: isOff ? OFF_ALPHA : 1,
      align: "center",
      right: [size * set.size, 0, 0],
      up: [0, size * set.size, 0],
    });
    if (onItsWay || (tokens.length > THREADS_MAX && pos !== lit)) return;
    const column = columnAt(layout, pos);
    const { top } = layout.spine;
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
      strength: isFar ? 0.16 : 0.3,
      token: pos,
      selected: false,
    });
    if (isFar) return;
    const at = (share: number): Vec3 => [column, top + (layout.spine.bottom - top) * share, -BEHIND];
    parts.curves.push({
      points: [at(0), at(1 / 3), at(2 / 3), at(1)],
      order: [0, 1],
      widthPx: 1,
      strength: 0.2,
      token: pos,
      selected: false,
    });
  });
  return parts;
}

/** The line through a tile whose word is hidden. */
function strikeOf({ corner, width, height, size }: TilePlace, palette: Palette): Slab {
  return {
    corner: [corner[0], corner[1] - height / 2 - size * STRIKE, 0.6],
    width,
    height: size * STRIKE * 2,
    depth: 0,
    color: palette.selection,
    light: 1,
    edge: 0,
    order: 0,
  };
}

function hueOf(light: number, { positive, negative }: Palette): Color {
  return (light > 0 ? positive : negative)[1];
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
