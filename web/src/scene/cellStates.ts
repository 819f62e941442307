import { BEYOND_NUMBERS } from "../layout/Magnitudes";

/**
 * What stands in a texel where no number does. Not NaN and not infinity, which do not survive every driver; all are
 * larger than any number that is drawn.
 */
export const STATES = {
  /** Not there: not recorded, or not read yet. */
  absent: 1e38,
  /** Left out of attention. */
  masked: 1.5e38,
  notANumber: 2e38,
  infinite: 2.5e38,
} as const;

/** What a texel holds for a value that is not masked. */
export function texelOf(value: number): number {
  if (Number.isNaN(value)) return STATES.notANumber;
  return Math.abs(value) >= BEYOND_NUMBERS ? STATES.infinite : value;
}

/** The number in a texel; null where there is none to be written. */
export function numberIn(texel: number): number | null {
  return texel >= BEYOND_NUMBERS ? null : texel;
}
