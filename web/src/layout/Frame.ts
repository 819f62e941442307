import { add, cross, scale, type Vec3 } from "./Vec3";

/** A place to lay rectangles on: a corner and two unit directions, right and down as one reads. */
export interface Frame {
  corner: Vec3;
  right: Vec3;
  down: Vec3;
}

export function pointOn(frame: Frame, x: number, y: number): Vec3 {
  return add(frame.corner, add(scale(frame.right, x), scale(frame.down, y)));
}

/** The direction out of the frame, towards who reads it. */
export function normalOf(frame: Frame): Vec3 {
  return cross(frame.down, frame.right);
}

export function shifted(frame: Frame, x: number, y: number, out = 0): Frame {
  return { ...frame, corner: add(pointOn(frame, x, y), scale(normalOf(frame), out)) };
}
