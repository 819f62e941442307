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
/** A token column of a short prompt would look like a plank, of a long one like a hair. */
const COLUMN_MAX = 9;
const SPINE_MAX = 210;
const SPINE_MIN = 96;

export const WIDTH_OF_WINGS = { attention: 262, mlp: 236 };

export function chooseMetrics(anatomy: Anatomy, columns: number, free: Free): Metrics {
  const spineWidth = Math.min(SPINE_MAX, Math.max(SPINE_MIN, columns * COLUMN_MAX));
  const gap = 34;
  const width = spineWidth + 2 * gap + WIDTH_OF_WINGS.attention + WIDTH_OF_WINGS.mlp;
  const blocks = Math.max(1, anatomy.blocks.length);
  // Few blocks may stand tall, many must stoop: the tower fills what is free without losing its proportions.
  const natural = free.height * (width / free.width);
  const floor = Math.min(150, Math.max(blocks > 24 ? 64 : 92, (natural * 0.66) / blocks));
  const height = blocks * floor + 0.36 * natural;
  const pxPerUnit = Math.min(free.width / width, free.height / height);
  const text = Math.max(TEXT_PX / pxPerUnit, 9);
  return {
    columns,
    spineWidth,
    gap,
    attentionWidth: WIDTH_OF_WINGS.attention,
    wingWidth: WIDTH_OF_WINGS.mlp,
    sweep: 0.42,
    floor,
    shelf: Math.min(44, floor * 0.4),
    slope: 0.5,
    text,
    tilesWidth: Math.max(width * 0.94, (free.width / pxPerUnit) * 0.86),
    skylineHeight: Math.max(70, text * 6),
  };
}
