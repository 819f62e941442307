import { describe, expect, test } from "vitest";
import { project, rayAt, type View } from "./Camera";
import { fitPose } from "./fitPose";
import { add, scale, type Vec3 } from "./Vec3";

const VIEW: View = {
  pose: { target: [10, -20, 5], yaw: -0.3, pitch: 0.25, distance: 500 },
  width: 1400,
  height: 900,
  offset: { x: 120, y: -30 },
};

describe("the camera", () => {
  test("shows its target in the middle of what is free", () => {
    const at = project(VIEW, VIEW.pose.target);
    expect(at?.x).toBeCloseTo(700 + 120);
    expect(at?.y).toBeCloseTo(450 - 30);
    expect(at?.depth).toBeCloseTo(500);
  });

  test("sends the ray of a pixel through what is seen there", () => {
    const point: Vec3 = [40, 12, -33];
    const at = project(VIEW, point);
    expect(at).not.toBeNull();
    if (!at) return;
    const ray = rayAt(VIEW, at.x, at.y);
    const along = add(
      ray.origin,
      scale(ray.direction, Math.hypot(...point.map((each, axis) => each - (ray.origin[axis] as number)))),
    );
    along.forEach((each, axis) => {
      expect(each).toBeCloseTo(point[axis] as number, 4);
    });
  });

  test("fits points into what is free", () => {
    const points: Vec3[] = [
      [-300, 200, 0],
      [300, 180, -120],
      [-250, -600, -90],
      [280, -620, 30],
    ];
    const free = { width: 700, height: 650 };
    const pose = fitPose(points, { yaw: -0.2, pitch: 0.2 }, free, 900);
    const view: View = { pose, width: 1400, height: 900, offset: { x: 0, y: 0 } };
    for (const point of points) {
      const at = project(view, point);
      expect(Math.abs((at?.x ?? 1e9) - 700)).toBeLessThanOrEqual(free.width / 2 + 0.5);
      expect(Math.abs((at?.y ?? 1e9) - 450)).toBeLessThanOrEqual(free.height / 2 + 0.5);
    }
  });
});
