import type { Color } from "three";
import type { Vec3 } from "../layout/Vec3";

/** One of the two fonts. */
export type Face = "sans" | "mono";

/** A line of text: on the screen (`sizePx`, at a point) or in the world (`right` and `up` are one em). */
export interface TextLine {
  text: string;
  face: Face;
  at: Vec3;
  color: Color;
  alpha: number;
  align: "left" | "center" | "right";
  /** Set off from what is behind it by a rim of the backdrop's colour. */
  halo?: boolean;
  sizePx?: number;
  /** Shift on the screen in pixels, y up. */
  shift?: readonly [number, number];
  right?: Vec3;
  up?: Vec3;
}
