/** A tensor of at most so many cells is small enough to be fetched exactly, whatever its size on the screen. */
const SMALL_CELLS = 1 << 15;

/**
 * The level at which a cell is about `cellPx` pixels: 0 where cells are larger than that or the tensor is small.
 * `across` and `down` are the plate's cells at level 0, on `width` x `height` CSS pixels; `leads` is how many such matrices
 * stand side by side.
 */
export function wantedLevel(
  across: number,
  down: number,
  width: number,
  height: number,
  leads: number,
  { small = SMALL_CELLS, cellPx = 1 } = {},
): number {
  let level = 0;
  if (across * down * leads > small) {
    const crowding = cellPx * Math.min(across / Math.max(1, width), down / Math.max(1, height));
    level = Math.max(0, Math.floor(Math.log2(Math.max(1, crowding))));
  }
  return level;
}
