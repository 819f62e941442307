import type { Layout, TilePlace } from "../layout/Layout";
import { columnAt } from "../layout/layoutTiles";
import type { Vec3 } from "../layout/Vec3";
import type { Distribution } from "../protocol/schema.generated";
import type { Curve } from "./Curve";
import type { GlyphAtlas } from "./GlyphAtlas";
import type { Palette } from "./palette";
import type { RankedLine } from "./readableLines";
import type { Slab } from "./Slab";
import { skylineBars } from "./skylineBars";
import { tileTexts } from "./tileText";

/** The height of the bar of a certain word, as a share of the room there is. */
const FULL = 0.94;

/** Where a bar and its word stand. */
export interface SkylinePlace extends TilePlace {
  tokenId: number;
}

export interface SkylineParts {
  slabs: Slab[];
  lines: RankedLine[];
  curves: Curve[];
  bars: SkylinePlace[];
}

/** The next-token distribution as bars with words on them, the best in the middle, the chosen one lit: a skyline. */
export function buildSkyline(
  distribution: Distribution | null,
  layout: Layout,
  palette: Palette,
  atlas: GlyphAtlas,
): SkylineParts {
  const parts: SkylineParts = { slabs: [], lines: [], curves: [], bars: [] };
  if (!distribution) return parts;
  const { corner, width, height, size, bars } = layout.skyline;
  const pitch = width / bars;
  const ground = corner[1] - height;
  const source: Vec3 = [columnAt(layout, distribution.pos), layout.spine.bottom, 2];
  const shown = skylineBars(distribution, bars);
  const words = tileTexts(shown.map(({ candidate }) => candidate.token.text));
  for (const [index, { candidate, lit, slot, apart }] of shown.entries()) {
    const chosen = distribution.chosen === candidate.token.id;
    const pruned = candidate.pruned_by != null && !chosen;
    const own = pitch * 0.7;
    const middle = slot * pitch;
    const x = middle - own / 2;
    const tall = Math.max(size * 0.16, height * FULL * candidate.probability);
    // The chosen word is always fully lit, however unlikely it was.
    const light = pruned ? 0.22 : 0.3 + 0.7 * (chosen ? 1 : Math.sqrt(candidate.probability));
    parts.slabs.push({
      corner: [x, ground, 0],
      width: own,
      height: tall,
      depth: own * 0.4,
      color: lit ? palette.probability[2] : palette.probability[1],
      light,
      edge: chosen ? 1 : 0.25,
      order: 1.02,
    });
    const word = words[index] ?? "";
    const room = pitch * 0.94;
    const em = Math.min(lit ? size * 1.25 : size, room / Math.max(0.1, atlas.measure(word)));
    const flat = { right: [em, 0, 0] as Vec3, up: [0, em, 0] as Vec3 };
    // Where not all can be read, words stay before numbers, and likely ones before others.
    const rank = (lit ? -1 : 0) - candidate.probability;
    parts.lines.push({
      rank,
      text: word,
      face: "sans",
      at: [middle, ground - size * 1.15, 1],
      color: lit ? palette.text : palette.quietText,
      alpha: pruned ? 0.8 : 1,
      align: "center",
      ...flat,
    });
    const foot = ground - size * 1.8;
    parts.bars.push({
      tokenId: candidate.token.id,
      corner: [middle - pitch / 2, Math.max(ground + tall, ground + size * 2), 0],
      width: pitch,
      height: Math.max(ground + tall, ground + size * 2) - foot,
      size,
    });
    const small = size * 0.78;
    parts.lines.push({
      rank: rank + 1.5,
      text: percent(candidate.probability),
      face: "mono",
      at: [middle, ground + tall + size * 0.3 + own * 0.12, 1],
      color: lit ? palette.text : palette.quietText,
      alpha: pruned ? 0.7 : 0.95,
      align: "center",
      right: [small, 0, 0],
      up: [0, small, 0],
    });
    const target: Vec3 = [middle, ground + tall, 0];
    const drop = source[1] - target[1];
    parts.curves.push({
      points: [
        source,
        [source[0], source[1] - drop * 0.5, 2],
        [target[0], target[1] + drop * 0.5, 0],
        target,
      ],
      order: [0.985, 1.02],
      widthPx: chosen ? 1.8 : 1,
      strength: pruned ? 0.06 : 0.14 + 0.6 * (chosen ? 1 : Math.sqrt(candidate.probability)),
      token: -1,
      selected: false,
    });
    if (apart) parts.lines.push(gapBeside(middle + (slot < 0 ? pitch : -pitch) / 2, ground, size, palette));
  }
  return parts;
}

/** Dots between two bars, where there are words without a bar. */
function gapBeside(x: number, ground: number, size: number, palette: Palette): RankedLine {
  return {
    rank: 1,
    text: "…",
    face: "sans",
    at: [x, ground, 1],
    color: palette.quietText,
    alpha: 1,
    align: "center",
    right: [size, 0, 0],
    up: [0, size, 0],
  };
}

/** A probability in per cent with at most two digits; the inspector shows it exactly. */
export function percent(probability: number): string {
  const value = probability * 100;
  if (value >= 99.95) return value < 100 ? ">99.9%" : "100%";
  if (value >= 99.5) return `${value.toFixed(1)}%`;
  if (value >= 10) return `${value.toFixed(0)}%`;
  if (value >= 1) return `${value.toFixed(1)}%`;
  return value >= 0.1 ? `${value.toFixed(1)}%` : "<0.1%";
}
