import type { HeadPattern } from "../../state/AppState";

export interface ReadToken {
  position: number;
  weight: number;
}

/** What one token reads, and who reads it, through one head: shares by position, from `start` on. */
export interface TokenReads {
  position: number;
  /** What it gives to each token before it, and to itself. */
  reads: Float32Array;
  /** What each token after it, and itself, gives to it. */
  readBy: Float32Array;
  /** The position that it gives most to. */
  most: number;
}

export function readsOf(pattern: HeadPattern, position: number): TokenReads | null {
  const { start, stop, values } = pattern;
  const size = stop - start;
  const at = position - start;
  if (at < 0 || at >= size) return null;
  const reads = values.slice(at * size, (at + 1) * size);
  const readBy = Float32Array.from({ length: size }, (_, query) => values[query * size + at] ?? 0);
  return { position, reads, readBy, most: start + reads.indexOf(Math.max(...reads)) };
}

/** The positions with the largest shares, the largest first; those below `least` are not worth a word. */
export function largestShares(
  shares: Float32Array,
  start: number,
  { count = 3, least = 0.05, without = -1 }: { count?: number; least?: number; without?: number } = {},
): ReadToken[] {
  return [...shares]
    .map((weight, at) => ({ position: start + at, weight }))
    .filter(({ position, weight }) => weight >= least && position !== without)
    .toSorted((one, other) => other.weight - one.weight)
    .slice(0, count);
}

/** The pattern in at most `side` x `side` cells, the largest of those that share one, so that no thin line is lost. */
export function poolPattern(
  { start, stop, values }: HeadPattern,
  side: number,
): { size: number; cells: Float32Array } {
  const full = stop - start;
  const step = Math.max(1, Math.ceil(full / side));
  const size = Math.ceil(full / step);
  const cells = new Float32Array(size * size);
  for (let row = 0; row < full; row += 1) {
    const line = Math.floor(row / step) * size;
    for (let column = 0; column <= row; column += 1) {
      const cell = line + Math.floor(column / step);
      const value = values[row * full + column] ?? 0;
      if (value > (cells[cell] ?? 0)) cells[cell] = value;
    }
  }
  return { size, cells };
}
