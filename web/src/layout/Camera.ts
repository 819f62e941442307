import { add, cross, dot, normalize, scale, subtract, type Vec3 } from "./Vec3";

/** Where one looks from: angles in radians, distance from the target in world units. */
export interface Pose {
  target: Vec3;
  yaw: number;
  pitch: number;
  distance: number;
}

/** A pose with the window it is seen through; the target stands in the middle of what is free. */
export interface View {
  pose: Pose;
  width: number;
  height: number;
  /** CSS pixels from the window's centre to the centre of what is free. */
  offset: { x: number; y: number };
}

/** Vertical angle of view: moderate, so that depth is felt and rows stay almost parallel. */
export const FIELD_OF_VIEW = (24 * Math.PI) / 180;

export function axesOf(pose: Pose): { right: Vec3; up: Vec3; back: Vec3 } {
  const back: Vec3 = [
    Math.sin(pose.yaw) * Math.cos(pose.pitch),
    Math.sin(pose.pitch),
    Math.cos(pose.yaw) * Math.cos(pose.pitch),
  ];
  const right: Vec3 = [Math.cos(pose.yaw), 0, -Math.sin(pose.yaw)];
  return { right, up: cross(back, right), back };
}

export function eyeOf(pose: Pose): Vec3 {
  return add(pose.target, scale(axesOf(pose).back, pose.distance));
}

/** World units to CSS pixels for something at the target's distance. */
export function pxPerUnit(view: View): number {
  return view.height / (2 * Math.tan(FIELD_OF_VIEW / 2) * view.pose.distance);
}

/** A point's place in the window (CSS pixels) and its distance along the view; null behind the eye. */
export function project(view: View, point: Vec3): { x: number; y: number; depth: number } | null {
  const { right, up, back } = axesOf(view.pose);
  const relative = subtract(point, eyeOf(view.pose));
  const depth = -dot(relative, back);
  if (depth < view.pose.distance * 0.01) return null;
  const focal = view.height / 2 / Math.tan(FIELD_OF_VIEW / 2);
  return {
    x: view.width / 2 + view.offset.x + (dot(relative, right) * focal) / depth,
    y: view.height / 2 + view.offset.y - (dot(relative, up) * focal) / depth,
    depth,
  };
}

/** Tells of points whether any of what lies between them can be in the window: not where all are beyond one of its sides. */
export function windowOf(view: View): (points: readonly Vec3[]) => boolean {
  const { right, up, back } = axesOf(view.pose);
  const eye = eyeOf(view.pose);
  const focal = view.height / 2 / Math.tan(FIELD_OF_VIEW / 2);
  const [x, y] = [view.width / 2 + view.offset.x, view.height / 2 + view.offset.y];
  // For each side of the window, and the eye's own plane: above 0 within.
  const sides: Vec3[] = [
    scale(back, -1),
    add(scale(back, -x), scale(right, focal)),
    add(scale(back, x - view.width), scale(right, -focal)),
    add(scale(back, -y), scale(up, -focal)),
    add(scale(back, y - view.height), scale(up, focal)),
  ];
  return (points) => sides.every((side) => points.some((point) => dot(side, subtract(point, eye)) > 0));
}

/** The ray through a pixel of the window. */
export function rayAt(view: View, x: number, y: number): { origin: Vec3; direction: Vec3 } {
  const { right, up, back } = axesOf(view.pose);
  const focal = view.height / 2 / Math.tan(FIELD_OF_VIEW / 2);
  const dx = (x - view.width / 2 - view.offset.x) / focal;
  const dy = -(y - view.height / 2 - view.offset.y) / focal;
  const direction = normalize(add(add(scale(right, dx), scale(up, dy)), scale(back, -1)));
  return { origin: eyeOf(view.pose), direction };
}
