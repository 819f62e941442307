import { axesOf, FIELD_OF_VIEW, type Pose } from "./Camera";
import type { Free } from "./Metrics";
import { add, dot, scale, type Vec3 } from "./Vec3";

/** The nearest pose with those angles that shows all the points within `free` CSS pixels of a window `height` high. */
export function fitPose(
  points: readonly Vec3[],
  angles: Pick<Pose, "yaw" | "pitch">,
  free: Free,
  height: number,
): Pose {
  const focal = height / 2 / Math.tan(FIELD_OF_VIEW / 2);
  const { right, up, back } = axesOf({ ...angles, target: [0, 0, 0], distance: 1 });
  const slopeX = free.width / 2 / focal;
  const slopeY = free.height / 2 / focal;
  // A point is inside the view pyramid where |x - cx| <= slope (eye - z); each side gives one line to stay behind.
  const reach = (axis: Vec3, slope: number) => {
    let high = Number.NEGATIVE_INFINITY;
    let low = Number.NEGATIVE_INFINITY;
    for (const point of points) {
      const across = dot(point, axis);
      const depth = dot(point, back);
      high = Math.max(high, across + slope * depth);
      low = Math.max(low, -across + slope * depth);
    }
    return { eye: (high + low) / (2 * slope), centre: (high - low) / 2 };
  };
  const x = reach(right, slopeX);
  const y = reach(up, slopeY);
  const eye = Math.max(x.eye, y.eye);
  const depths = points.map((point) => dot(point, back));
  const middle = (Math.max(...depths) + Math.min(...depths)) / 2;
  const target = add(add(scale(right, x.centre), scale(up, y.centre)), scale(back, middle));
  return { ...angles, target, distance: Math.max(1e-3, eye - middle) };
}
