import { FIELD_OF_VIEW, project, type View, windowOf } from "../layout/Camera";
import { floorOf } from "../layout/floorOf";
import { isPattern } from "../layout/isMasked";
import type { Layout } from "../layout/Layout";
import { hasLeads } from "../layout/leads";
import { type Plate, pointAt } from "../layout/Plate";
import { fourCorners, middleOf } from "../layout/Rect";
import { length, type Vec3 } from "../layout/Vec3";
import { visibleCells } from "../layout/visibleCells";
import { wantedLevel } from "../layout/wantedLevel";
import { type Level, meetLevels } from "./cellLevels";
import type { Insets } from "./Insets";
import type { SteadyLevels } from "./SteadyLevels";
import type { Wanted } from "./Wanted";

/** A block smaller than this on the screen is a card. */
const DETAIL_PX = 34;
/** And so is one that is smaller than this share of the window: only a few blocks are looked into at once. */
const DETAIL_SHARE = 0.12;
/** Each head raises `DETAIL_PX` by this: with many heads, their matrices would be too small to show anything. */
const HEAD_PX = 0.7;
/** From this height of a block on the screen on, words can stand on its cells. */
const WORDS_PX = 30;
/** One must come nearer than the whole model by this, so that the first view has no matrix in it. */
const NEARER = 1.5;
/** Between a card and its matrices, both fade: from here to there, as shares of where the one has become the other. */
const FADE = { from: 0.85, to: 1.15 };
/** From this height of a block on the screen on, and so much nearer than in the first view, its mosaics come. */
const MOSAIC_PX = 46;
const MOSAIC_NEARER = 1.15;
const MOSAIC_FADE = 1.2;
/** From which size on the screen the values of a weight, or of a site, are fetched. */
const WEIGHT_PX = 7;
const SITE_PX = 2;
/** A weight of fewer cells is always fetched in full; of a larger one, a cell may be this many pixels wide. */
const WEIGHTS = { small: 1 << 11, cellPx: 2, share: 0.25 };
/** Areas on the screen are alike within so many doublings. */
const SIZES_ALIKE = 4;
/** A matrix of at most so many cells at a level is read whole: a weight, or a site, whose rows are kept as it grows. */
const WHOLE_CELLS = { weight: 1 << 17, site: 1 << 19 };
/** Of a larger one, parts are read as the store is cut (`tiles/zarr_store.py`), up to so many cells together. */
const PART = { rows: 64, columns: 512 };
const PARTS_CELLS = 1 << 20;

/** Between which heights of a block on the screen, in pixels, its card gives way to its matrices. */
export interface NearSpan {
  /** A block's height in the world. */
  floor: number;
  fromPx: number;
  toPx: number;
  /** Between which its mosaics come over the cells of its card. */
  mosaicFromPx: number;
  mosaicToPx: number;
}

/** Nothing is near. */
export const FAR_ONLY: NearSpan = { floor: 1, fromPx: 1e9, toPx: 2e9, mosaicFromPx: 1e9, mosaicToPx: 2e9 };

export function nearSpan(layout: Layout, view: View, covered: Insets): NearSpan {
  if (layout.beside.length > 0) return { ...FAR_ONLY, floor: floorOf(layout) };
  const floor = floorOf(layout);
  const heads = Math.max(0, ...layout.blocks.map((block) => block.heads));
  const { left, right, top, bottom } = covered;
  const first = floor * pxPerUnit(layout, view.width - left - right, view.height - top - bottom);
  const mosaicFromPx = Math.max(MOSAIC_PX, first * MOSAIC_NEARER);
  const mosaicToPx = mosaicFromPx * MOSAIC_FADE;
  const whole = floor * pxPerUnit(layout, view.width, view.height);
  const middle = Math.max(DETAIL_PX + heads * HEAD_PX, view.height * DETAIL_SHARE, whole * NEARER);
  const fromPx = Math.max(middle * FADE.from, mosaicToPx);
  return { floor, fromPx, toPx: (fromPx * FADE.to) / FADE.from, mosaicFromPx, mosaicToPx };
}

/** From how far off a block's matrices are drawn, wholly. */
export function nearDistance({ floor, toPx }: NearSpan, view: View): number {
  return (floor * view.height) / 2 / Math.tan(FIELD_OF_VIEW / 2) / toPx;
}

/** Pixels for a unit of the world where all of a layout is fitted into so many of them. */
function pxPerUnit({ bounds: { min, max } }: Layout, width: number, height: number): number {
  return Math.min(Math.max(1, width) / (max[0] - min[0]), Math.max(1, height) / (max[1] - min[1]));
}

/** How near a point is: 0 where blocks are cards, 1 where they are matrices. */
export function nearnessOf({ floor, fromPx, toPx }: NearSpan, view: View, point: Vec3): number {
  return shareOf(heightPxAt(floor, view, point), fromPx, toPx);
}

/** How much mosaics stand over the cells of cards there: 0 none, 1 wholly. */
export function mosaicAt({ floor, mosaicFromPx, mosaicToPx }: NearSpan, view: View, point: Vec3): number {
  return shareOf(heightPxAt(floor, view, point), mosaicFromPx, mosaicToPx);
}

/** A block's height on the screen where it stands at a point; without end beside the camera. */
function heightPxAt(floor: number, view: View, point: Vec3): number {
  const at = project(view, point);
  return at ? (floor * view.height) / 2 / Math.tan(FIELD_OF_VIEW / 2) / at.depth : Number.POSITIVE_INFINITY;
}

/** As the shaders' smoothstep. */
function shareOf(px: number, fromPx: number, toPx: number): number {
  const share = Math.min(1, Math.max(0, (px - fromPx) / (toPx - fromPx)));
  return share * share * (3 - 2 * share);
}

/** The blocks in view whose cards are so large that words can stand on them, and not yet matrices. */
export function largeBlocks({ blocks, boundaries }: Layout, view: View, span: NearSpan): number[] {
  const focal = view.height / 2 / Math.tan(FIELD_OF_VIEW / 2);
  return blocks.flatMap(({ index }) => {
    const [top, bottom] = [boundaries[index], boundaries[index + 1]];
    if (top === undefined || bottom === undefined) return [];
    const middle = project(view, [view.pose.target[0], (top + bottom) / 2, 0]);
    if (!middle) return [];
    const heightPx = ((top - bottom) * focal) / middle.depth;
    return heightPx > WORDS_PX &&
      heightPx < (span.fromPx + span.toPx) / 2 &&
      middle.y > -heightPx &&
      middle.y < view.height + heightPx
      ? [index]
      : [];
  });
}

/**
 * What the camera can see of these plates, and at which level. What is largest on the screen comes first; of about the same
 * size, what is computed first, since the server makes the matrices of a block together.
 */
export function wantedOf(
  plates: readonly Plate[],
  view: View,
  hasValues: boolean,
  levels: SteadyLevels,
): Wanted[] {
  const focal = view.height / 2 / Math.tan(FIELD_OF_VIEW / 2);
  const isInWindow = windowOf(view);
  const wanted = new Map<string, { one: Wanted; crowding: Level | undefined; rank: number; turn: number }>();
  for (const plate of plates) {
    if (plate.name === "" || plate.refused || (plate.kind === "site" && !hasValues)) continue;
    const middle = isInWindow(fourCorners(plate)) ? middleSeen(plate, view) : null;
    if (!middle) continue;
    const [width, height] = [length(plate.right), length(plate.down)].map(
      (side) => (side * focal) / middle.depth,
    ) as [number, number];
    if (Math.max(width, height) < (plate.kind === "weight" ? WEIGHT_PX : SITE_PX)) continue;
    const isWeight = plate.kind === "weight";
    const lead = plate.lead >= 0 && hasLeads(plate.axes) ? plate.lead : undefined;
    const leads = lead === undefined ? plate.leads : 1;
    const across = plate.columns.count;
    const finest = wantedLevel(across, plate.rows.count, width, height, plate.leads, isWeight ? WEIGHTS : {});
    const { level, parts } = partsOf(plate, view, finest, leads);
    // Weights are the quiet ones: they come after what happens now.
    const area = Math.min(width, view.width) * Math.min(height, view.height) * (isWeight ? WEIGHTS.share : 1);
    for (const part of parts) {
      const key = `${plate.name} ${lead} ${part?.row} ${part?.column}`;
      const before = wanted.get(key);
      const own = part || isWeight ? undefined : crowdingOf(plate, width, height);
      // Where two plates show a matrix, both are drawn from the finer picture.
      const crowding = before ? meetLevels(own, before.crowding) : own;
      if (before && level >= before.one.level) {
        before.crowding = crowding;
        continue;
      }
      const one = { name: plate.name, kind: plate.kind, level, lead, part };
      wanted.set(key, {
        one,
        crowding,
        rank: Math.floor(Math.log2(area) / SIZES_ALIKE),
        turn: plate.order[0] + (isWeight ? 2 : 0),
      });
    }
  }
  for (const [key, { one, crowding }] of wanted)
    if (crowding) one.shown = levels.choose(key, crowding, one.level);
  levels.turn();
  return [...wanted.values()].sort((a, b) => b.rank - a.rank || a.turn - b.turn).map(({ one }) => one);
}

/** How far off a plate is: at its middle, else at the middle of what can be seen of it. */
function middleSeen(plate: Plate, view: View): { depth: number } | null {
  const middle = project(view, middleOf(plate));
  if (middle && middle.x > 0 && middle.y > 0 && middle.x < view.width && middle.y < view.height)
    return middle;
  const { left, right, top, bottom } = visibleCells(plate, view);
  if (left > right || top > bottom) return middle;
  const { columns, rows } = plate;
  return project(
    view,
    pointAt(plate, (left + right + 1) / 2 / columns.count, (top + bottom + 1) / 2 / rows.count),
  );
}

/**
 * How often a plate's rows and columns have to be halved until one is a pixel, each by itself; of a pattern, whose diagonal
 * must stay one, both alike. Undefined where the plate does not show the last two axes.
 */
function crowdingOf({ axes, columns, rows }: Plate, width: number, height: number): Level | undefined {
  const last = axes.length - 1;
  const isTurned = columns.axis === last - 1 && rows.axis === last;
  if (!isTurned && !(columns.axis === last && rows.axis === last - 1)) return undefined;
  const across = Math.max(0, Math.log2(columns.count / width));
  const down = Math.max(0, Math.log2(rows.count / height));
  if (isPattern(axes)) return { rows: Math.min(across, down), columns: Math.min(across, down) };
  return isTurned ? { rows: across, columns: down } : { rows: down, columns: across };
}

/** The parts of a plate's matrix that are on the screen, at a level at which they are not too many; whole where it is small. */
function partsOf(
  plate: Plate,
  view: View,
  finest: number,
  leads: number,
): { level: number; parts: (Wanted["part"] | undefined)[] } {
  const { columns, rows, axes } = plate;
  const isTurned = columns.axis !== axes.length - 1;
  const canPart = leads === 1 && columns.axis >= 0 && rows.axis >= 0 && axes.length >= 2;
  for (let level = finest; ; level++) {
    const sizeOf = (count: number) => Math.ceil(count / 2 ** level);
    if (sizeOf(columns.count) * sizeOf(rows.count) * leads <= WHOLE_CELLS[plate.kind])
      return { level, parts: [undefined] };
    if (!canPart) continue;
    const seen = visibleCells(plate, view);
    const [acrossFirst, acrossLast] = isTurned ? [seen.top, seen.bottom] : [seen.left, seen.right];
    const [downFirst, downLast] = isTurned ? [seen.left, seen.right] : [seen.top, seen.bottom];
    const [ofRows, ofColumns] = isTurned
      ? [sizeOf(columns.count), sizeOf(rows.count)]
      : [sizeOf(rows.count), sizeOf(columns.count)];
    const side = isPattern(axes) ? PART.rows : PART.columns;
    const parts: Wanted["part"][] = [];
    for (let row = cut(downFirst >> level, PART.rows); row <= downLast >> level; row += PART.rows)
      for (let column = cut(acrossFirst >> level, side); column <= acrossLast >> level; column += side)
        parts.push({
          row,
          column,
          rows: Math.min(PART.rows, ofRows - row),
          columns: Math.min(side, ofColumns - column),
          ofRows,
          ofColumns,
        });
    if (parts.length * PART.rows * side <= PARTS_CELLS) return { level, parts };
  }
}

function cut(at: number, side: number): number {
  return Math.max(0, at - (at % side));
}
