import type { Vec3 } from "../layout/Vec3";

/** A thread of light: a cubic curve of constant width on the screen. */
export interface Curve {
  points: readonly [Vec3, Vec3, Vec3, Vec3];
  /** When the pass of light reaches its two ends, as fractions of the whole. */
  order: readonly [number, number];
  widthPx: number;
  /** How bright it is, 0..1. */
  strength: number;
  /** The token whose thread it is; -1: none. */
  token: number;
  /** White light instead of the thread colour: lines from a selected cell. */
  selected: boolean;
  /** Above 0 in the hue of what is positive, below 0 in the other; left out: the thread colour. */
  hue?: number;
}
