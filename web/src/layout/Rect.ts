import type { Vec3 } from "./Vec3";

/** A rectangle in the world. */
export interface Rect {
  corner: Vec3;
  /** From the corner over the whole width, and over the whole height. */
  right: Vec3;
  down: Vec3;
}
