/** How many times the smallest visible magnitude the largest is on a logarithmic scale: three powers of ten. */
export const LOG_SPAN = 1000;

/** The brightness, 0 to 1, of a magnitude as a share of the scale's limit. The shader has the same. */
export function tone(share: number, logarithmic: boolean): number {
  const held = Math.min(1, share);
  return logarithmic ? Math.log1p((LOG_SPAN - 1) * held) / Math.log(LOG_SPAN) : held;
}
