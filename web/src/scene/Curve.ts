import type { Vec3 } from "../layout/Vec3";

export interface Curve {
  points: readonly [Vec3, Vec3, Vec3, Vec3];
  order: readonly [number, number];
  widthPx: number;
  /** 0..1 */
  strength: number;
  /** The token whose thread it is; -1: none. */
  token: number;
  /** White light instead of the thread colour: lines from a selected cell. */
  selected: boolean;
}
