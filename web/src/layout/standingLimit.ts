/** A value this many times the next one stands apart, if it is also this many times the floor. */
const APART = 2.6;
const APART_FLOORS = 4;
/** At most so many stand apart, and at most this share of all. */
const APART_MAX = 3;
const APART_SHARE = 0.05;

/**
 * The value at full light: the largest magnitude, once the few that stand apart from all others are left out, so that
 * one part which is always worth everything does not darken the rest. Never below `floor`.
 */
export function standingLimit(values: readonly number[], floor: number): number {
  const sorted = values
    .map(Math.abs)
    .filter(Number.isFinite)
    .sort((a, b) => b - a);
  const most = Math.min(APART_MAX, Math.floor(sorted.length * APART_SHARE));
  for (let apart = most; apart > 0; apart--) {
    const next = sorted[apart] as number;
    if ((sorted[apart - 1] as number) > Math.max(next * APART, floor * APART_FLOORS))
      return Math.max(floor, next);
  }
  return Math.max(floor, sorted[0] ?? 0);
}
