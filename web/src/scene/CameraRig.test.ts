import { expect, test } from "vitest";
import { project } from "../layout/Camera";
import { cornersOf } from "../layout/keepInView";
import type { Bounds } from "../layout/Layout";
import type { Vec3 } from "../layout/Vec3";
import { CameraRig } from "./CameraRig";

const BOUNDS: Bounds = { min: [-200, -300, -20], max: [200, 300, 20] };
const AREA = { left: 336, right: 1400 - 440, top: 64, bottom: 900 - 88 };

function makeRig(): CameraRig {
  const rig = new CameraRig();
  rig.resize(1400, 900);
  rig.insets = { left: AREA.left, right: 440, top: AREA.top, bottom: 88 };
  rig.reducedMotion = true;
  rig.setLimits(BOUNDS);
  rig.jumpTo(rig.poseFor(cornersOf(BOUNDS)));
  return rig;
}

/** How many pixels of the model's extent stand in the free part of the window, along each side. */
function seen(rig: CameraRig): { x: number; y: number } {
  const corners = cornersOf(BOUNDS).map((corner) => project(rig.view, corner));
  const xs = corners.map((corner) => corner?.x ?? Number.NaN);
  const ys = corners.map((corner) => corner?.y ?? Number.NaN);
  return {
    x: Math.min(Math.max(...xs), AREA.right) - Math.max(Math.min(...xs), AREA.left),
    y: Math.min(Math.max(...ys), AREA.bottom) - Math.max(Math.min(...ys), AREA.top),
  };
}

test("a zoom keeps what is under the pointer where it is, and has limits both ways", () => {
  const rig = makeRig();
  const point: Vec3 = [60, 90, 0];
  const before = project(rig.view, point);
  if (!before) throw new Error("not in view");
  rig.pivot(point);
  for (let turn = 0; turn < 5; turn += 1) rig.zoom(0.8, before.x, before.y);
  const after = project(rig.view, point);
  expect(after?.x).toBeCloseTo(before.x, 3);
  expect(after?.y).toBeCloseTo(before.y, 3);
  for (let turn = 0; turn < 200; turn += 1) rig.zoom(0.5, before.x, before.y);
  expect(rig.pose.distance).toBeGreaterThan(1);
  for (let turn = 0; turn < 200; turn += 1) rig.zoom(2, before.x, before.y);
  expect(rig.pose.distance).toBeLessThan(6000);
});

test("however far somebody pans, turns or zooms, some of the model stays in what is free", () => {
  const rig = makeRig();
  const moves = [
    () => rig.pan(4000, 0),
    () => rig.pan(-9000, 70),
    () => rig.pan(0, 5000),
    () => rig.pan(30, -8000),
    () => rig.turn(900, 300),
    () => rig.turn(-2000, -900),
    () => rig.zoom(4, 20, 20),
    () => rig.zoom(3, 1390, 890),
  ];
  for (const move of moves) {
    move();
    expect(seen(rig).x).toBeGreaterThan(20);
    expect(seen(rig).y).toBeGreaterThan(20);
  }
});

test("close to the cells, where some of the model is behind the eye, the target stays within it", () => {
  const rig = makeRig();
  for (let turn = 0; turn < 30; turn += 1) rig.zoom(0.7, 648, 438);
  rig.pan(1e6, -1e6);
  rig.pose.target.forEach((value, axis) => {
    expect(value).toBeGreaterThanOrEqual((BOUNDS.min[axis] as number) - 1e-9);
    expect(value).toBeLessThanOrEqual((BOUNDS.max[axis] as number) + 1e-9);
  });
});

test("steps are undone and redone; a drag of many moves is one step, and flying is one too", () => {
  const rig = makeRig();
  const whole = rig.pose;
  expect(rig.canUndo).toBe(false);
  for (let move = 0; move < 10; move += 1) rig.pan(5, 3);
  const panned = rig.pose;
  expect(rig.retrace("undo")).toBe(true);
  expect(rig.pose).toEqual(whole);
  // Where it all stood before anybody moved, panels may move it again.
  expect(rig.moved).toBe(false);
  expect(rig.canUndo).toBe(false);
  expect(rig.retrace("undo")).toBe(false);
  expect(rig.retrace("redo")).toBe(true);
  expect(rig.pose).toEqual(panned);
  expect(rig.moved).toBe(true);
  rig.retrace("undo");
  rig.goTo({ ...whole, distance: 100 });
  expect(rig.canRedo).toBe(false);
  rig.retrace("undo");
  expect(rig.pose).toEqual(whole);
});

test("while there is nothing to look at nobody moves the camera, and what comes is seen whole", () => {
  const rig = makeRig();
  rig.forget();
  rig.zoom(0.3, 900, 400);
  rig.pan(500, 300);
  rig.turn(200, 100);
  expect(rig.moved).toBe(false);
  rig.setLimits(BOUNDS);
  rig.jumpTo(rig.poseFor(cornersOf(BOUNDS)));
  const whole = seen(rig);
  rig.pan(10, 0);
  expect(rig.moved).toBe(true);
  expect(seen(rig).y).toBeCloseTo(whole.y, 3);
});
