import { axesOf, type Pose, project, pxPerUnit, type View } from "./Camera";
import type { Bounds } from "./Layout";
import { add, scale, type Vec3 } from "./Vec3";

/** A rectangle of the window, in CSS pixels. */
export interface Area {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

/**
 * The pose, moved sideways just so far that at least `kept` pixels of the model stand in an area of the window. Inside
 * the model, where some of it is behind the eye, the target stays within its bounds instead.
 */
export function keepInView(view: View, bounds: Bounds, area: Area, kept: number): Pose {
  const corners = cornersOf(bounds).map((corner) => project(view, corner));
  const { pose } = view;
  if (corners.some((corner) => corner === null)) {
    const target = pose.target.map((value, axis) =>
      Math.min(Math.max(value, bounds.min[axis] as number), bounds.max[axis] as number),
    ) as unknown as Vec3;
    return { ...pose, target };
  }
  const xs = corners.map((corner) => corner?.x ?? 0);
  const ys = corners.map((corner) => corner?.y ?? 0);
  const dx = shiftInto(Math.min(...xs), Math.max(...xs), area.left, area.right, kept);
  const dy = shiftInto(Math.min(...ys), Math.max(...ys), area.top, area.bottom, kept);
  if (dx === 0 && dy === 0) return pose;
  const { right, up } = axesOf(pose);
  const units = 1 / pxPerUnit(view);
  return { ...pose, target: add(pose.target, add(scale(right, -dx * units), scale(up, dy * units))) };
}

export function cornersOf({ min, max }: Bounds): Vec3[] {
  const ends = [min, max];
  return [0, 1].flatMap((x) =>
    [0, 1].flatMap((y) => [0, 1].map((z): Vec3 => [ends[x]?.[0] ?? 0, ends[y]?.[1] ?? 0, ends[z]?.[2] ?? 0])),
  );
}

/** How far a stretch has to move so that `kept` of it lies between two ends. */
function shiftInto(low: number, high: number, start: number, stop: number, kept: number): number {
  const wanted = Math.min(kept, high - low, stop - start);
  if (high < start + wanted) return start + wanted - high;
  if (low > stop - wanted) return stop - wanted - low;
  return 0;
}
