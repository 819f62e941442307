import type { Anatomy } from "../protocol/schema.generated";

/** CSS pixels that no panel covers. */
export interface Free {
  width: number;
  height: number;
}

/** Sizes in world units. One unit is about a CSS pixel in the first view of a small model on a desktop. */
export interface Metrics {
  columns: number;
  spineWidth: number;
  /** Between the spine and the wings: room for threads and the norms' weights. */
  gap: number;
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
  skylineHeight: number;
}

/** Text at the first camera, in CSS pixels: the smallest that reads well. */
const TEXT_PX = 12.5;
/** World height of a block; everything else is chosen around it. */
const FLOOR = 100;
/** Wider than this, wings would be planks; narrower, they would be posts. */
const WIDTH_MAX = 1150;
const WIDTH_MIN = 500;
/** A token column of a short prompt would look like a plank, of a long one like a hair. */
const COLUMN_MAX = 9.5;
/** Shares of the height that tiles and skyline take, and of the width that each part takes. */
const ENDS_SHARE = 0.27;
const SPINE_SHARE = 0.27;
const ATTENTION_SHARE = 0.56;

export function chooseMetrics(anatomy: Anatomy, columns: number, free: Free): Metrics {
  const blocks = Math.max(1, anatomy.blocks.length);
  const body = (blocks + 0.92) * FLOOR;
  const height = body / (1 - ENDS_SHARE);
  const width = Math.min(WIDTH_MAX, Math.max(WIDTH_MIN, (height * free.width) / free.height));
  // On a narrow window the width decides the scale: let the tower grow into the height that is left.
  const stretch = Math.min(1.5, Math.max(1, (width * free.height) / free.width / height));
  const pxPerUnit = Math.min(free.width / width, free.height / (height * stretch)) * 0.93;
  const gap = Math.min(38, width * 0.035);
  const spineWidth = Math.min(width * SPINE_SHARE, Math.max(96, columns * COLUMN_MAX));
  const wings = width - spineWidth - 2 * gap;
  const floor = FLOOR * stretch;
  const text = Math.max(TEXT_PX / pxPerUnit, 9);
  return {
    columns,
    spineWidth,
    gap,
    attentionWidth: wings * ATTENTION_SHARE,
    wingWidth: wings * (1 - ATTENTION_SHARE),
    sweep: 0.34,
    floor,
    shelf: floor * 0.32,
    slope: 0.5,
    text,
    tilesWidth: Math.max(width * 0.94, (free.width / pxPerUnit) * 0.86),
    skylineHeight: Math.max(70, text * 6),
  };
}
