import type { Anatomy } from "../protocol/schema.generated";
import { TILE_PITCH } from "./layoutTiles";

/** CSS pixels that no panel covers. */
export interface Free {
  width: number;
  height: number;
}

/** What kind of window a world is made for: the page itself is another one below 760 pixels. */
export type Format = "wide" | "narrow";

/**
 * What the first camera usually has for the whole model, in CSS pixels. The world is made for this and for nothing that
 * changes while one looks: a panel that opens, a window that is drawn larger and a longer text only move the camera.
 */
const FREE: Record<Format, Free & { tileRows: number }> = {
  wide: { width: 960, height: 720, tileRows: 2 },
  narrow: { width: 345, height: 265, tileRows: 2 },
};

/** A window up to so wide is `narrow`: where panels are sheets (panels/useMediaQuery.ts), on a phone that stands. */
const NARROW_PX = 760;

export function formatOf(windowWidth: number): Format {
  return windowWidth <= NARROW_PX ? "narrow" : "wide";
}

export function freeOf(format: Format): Free {
  return FREE[format];
}

/** Sizes in world units. One unit is about a CSS pixel in the first view of a small model on a desktop. */
export interface Metrics {
  columns: number;
  /** From the end of one wing to that of the other. */
  width: number;
  spineWidth: number;
  /** Between the spine and the heads: room for threads and the norms' weights. */
  gap: number;
  /** Between the spine and the MLP: room for the words along the spine. */
  gutter: number;
  attentionWidth: number;
  wingWidth: number;
  /** How far the wings sweep back, in radians. */
  sweep: number;
  /** Height of one block. */
  floor: number;
  /** Depth of the shelf that carries a block's weights, along its slope. */
  shelf: number;
  /** Slope of the shelf towards the viewer, in radians. */
  slope: number;
  /** World height of tile and skyline text, so that it has a readable size on the screen. */
  text: number;
  tilesWidth: number;
  /** Rows of tiles that the first camera has room for, so that a text can grow under it. */
  tileRows: number;
  skylineHeight: number;
  /** Between the tiles and the spine, where the threads gather. */
  funnel: number;
}

/** Text at the first camera, in CSS pixels: what reads well, and the least that can be read in a small window. */
export const TEXT_PX = 12.5;
const TEXT_MIN_PX = 9.5;
/** A window this high carries text of the full size. */
const TALL_PX = 620;
/** World height of a block; everything else is chosen around it. */
const FLOOR = 100;
/** Roof and end, in blocks. */
export const ROOF_SHARE = 0.3;
export const END_SHARE = 0.62;
/** Of the width that the window has for so high a body: a little air at the sides. */
const WIDTH_SHARE = 0.94;
const WIDTH_MIN = 460;
/** Of the width, however long the text: its columns get narrower, the model stays what it is. */
const SPINE_SHARE = 0.29;
const GAP_SHARE = 0.03;
const GUTTER_SHARE = 0.09;
/** Rows of the wings stay almost parallel to those of the spine, so that they can be read down. */
const SWEEP = 0.2;
/** Of what the spine and its gaps leave. */
const ATTENTION_SHARE = 0.56;
/** Heights around the skyline's bars, in units of the text size: bars, and words with the air below. */
const BARS_TALL = 6;
const BARS_LOW = 4;
const WORDS = 2.6;
/** Of the width, for the paragraph of tiles and for the skyline. */
const TILES_SHARE = 0.9;
/** Between tiles and spine, and between logits and skyline, where the threads gather; in pixels. */
const FUNNEL_PX = 30;
const FUNNEL_LOW_PX = 18;

export function chooseMetrics(anatomy: Anatomy, columns: number, format: Format): Metrics {
  const free = FREE[format];
  const text = Math.min(TEXT_PX, Math.max(TEXT_MIN_PX, (free.height / TALL_PX) * TEXT_PX));
  const tilesPx = free.tileRows * TILE_PITCH * text;
  const isLow = free.height < TALL_PX;
  const bars = isLow ? BARS_LOW : BARS_TALL;
  const funnelPx = isLow ? FUNNEL_LOW_PX : FUNNEL_PX;
  const bodyPx = Math.max(free.height * 0.3, free.height - tilesPx - (bars + WORDS) * text - 2 * funnelPx);
  // One tower, as deep as the model: its words are read down one spine.
  const body = (Math.max(1, anatomy.blocks.length) + ROOF_SHARE + END_SHARE) * FLOOR;
  const width = Math.max(WIDTH_MIN, ((body * free.width) / bodyPx) * WIDTH_SHARE);
  // On a narrow window the width decides the scale: let the tower grow into the height that is left.
  const stretch = Math.min(1.5, Math.max(1, (width * bodyPx) / free.width / body));
  // A tenth is lost to perspective and to the names of the blocks.
  const pxPerUnit = Math.min(free.width / width, bodyPx / (body * stretch)) * 0.9;
  const [spineWidth, gap, gutter] = [width * SPINE_SHARE, width * GAP_SHARE, width * GUTTER_SHARE];
  const wings = width - spineWidth - gap - gutter;
  const floor = FLOOR * stretch;
  return {
    columns,
    width,
    spineWidth,
    gap,
    gutter,
    attentionWidth: wings * ATTENTION_SHARE,
    wingWidth: wings * (1 - ATTENTION_SHARE),
    sweep: SWEEP,
    floor,
    shelf: floor * 0.32,
    slope: 0.5,
    text: text / pxPerUnit,
    tilesWidth: (free.width * TILES_SHARE) / pxPerUnit,
    tileRows: free.tileRows,
    skylineHeight: (bars * text) / pxPerUnit,
    funnel: funnelPx / pxPerUnit,
  };
}
