import type { Layout, TilePlace } from "./Layout";

/** Heights and gaps of tiles, in units of the text size. */
const TILE_HEIGHT = 1.75;
const ROW_GAP = 0.3;
/** From one row of tiles to the next. */
export const TILE_PITCH = TILE_HEIGHT + ROW_GAP;
const TILE_GAP = 0.28;
const PADDING = 0.9;
/** A prompt longer than this many rows is set smaller instead: it can be read by coming nearer. */
const ROWS_MAX = 5;

export interface Tiles {
  places: TilePlace[];
  rows: number;
  height: number;
}

/** Rows of a paragraph of tiles `ems` wide, set in `size` on `width`. */
function breakRows(ems: readonly number[], width: number, size: number): number[] {
  const starts: number[] = [];
  let x = Number.POSITIVE_INFINITY;
  ems.forEach((em, index) => {
    const own = (em + PADDING) * size;
    if (x + own > width) {
      starts.push(index);
      x = 0;
    }
    x += own + TILE_GAP * size;
  });
  return starts;
}

/** The narrowest measure that needs no more rows: so that no word is left alone on the last. */
function balance(ems: readonly number[], width: number, size: number, rows: number): number {
  let [low, high] = [0, width];
  for (let step = 0; step < 12; step++) {
    const middle = (low + high) / 2;
    if (breakRows(ems, middle, size).length > rows) low = middle;
    else high = middle;
  }
  return high;
}

/** The prompt as a paragraph of tiles, one for each token, its last row standing on `bottom`. */
export function layoutTiles(ems: readonly number[], width: number, preferred: number, bottom: number): Tiles {
  let size = preferred;
  let starts = breakRows(ems, width, size);
  while (starts.length > ROWS_MAX && size > preferred * 0.05) {
    size *= Math.max(0.6, Math.min(0.97, Math.sqrt(ROWS_MAX / starts.length)));
    starts = breakRows(ems, width, size);
    if (starts.length * size <= ROWS_MAX * preferred && size < preferred * 0.9) break;
  }
  const measure = balance(ems, width, size, starts.length);
  starts = breakRows(ems, measure, size);
  const pitch = TILE_PITCH * size;
  const height = starts.length * pitch;
  const places: TilePlace[] = [];
  starts.forEach((start, row) => {
    const stop = starts[row + 1] ?? ems.length;
    const widths = ems.slice(start, stop).map((em) => (em + PADDING) * size);
    const total = widths.reduce((sum, own) => sum + own + TILE_GAP * size, -TILE_GAP * size);
    // A single row stands centred over the spine; a paragraph starts every row at the left, as one reads.
    let x = starts.length === 1 ? -total / 2 : -measure / 2;
    for (const own of widths) {
      places.push({
        corner: [x, bottom + height - row * pitch, 0],
        width: own,
        height: TILE_HEIGHT * size,
        size,
      });
      x += own + TILE_GAP * size;
    }
  });
  return { places, rows: starts.length, height };
}

/** The middle of a token's column in the spine. */
export function columnAt({ spine, columns }: Pick<Layout, "spine" | "columns">, pos: number): number {
  return spine.left + ((pos + 0.5) / columns) * spine.width;
}
