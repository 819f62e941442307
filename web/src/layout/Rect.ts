import { add, scale, type Vec3 } from "./Vec3";

/** A rectangle in the world. */
export interface Rect {
  corner: Vec3;
  /** From the corner over the whole width, and over the whole height. */
  right: Vec3;
  down: Vec3;
}

export function middleOf({ corner, right, down }: Rect): Vec3 {
  return add(corner, scale(add(right, down), 0.5));
}

export function fourCorners({ corner, right, down }: Rect): Vec3[] {
  return [corner, add(corner, right), add(corner, down), add(add(corner, right), down)];
}
