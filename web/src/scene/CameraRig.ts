import { PerspectiveCamera } from "three";
import { axesOf, eyeOf, FIELD_OF_VIEW, type Pose, type View } from "../layout/Camera";
import { fitPose } from "../layout/fitPose";
import type { Bounds } from "../layout/Layout";
import { add, scale, type Vec3 } from "../layout/Vec3";
import type { Insets } from "./Scene";

/** The first look: from a little left and above, so that shelves and wings show their depth. */
export const FIRST_ANGLES = { yaw: -0.14, pitch: 0.19 };
const EASE_MS = 420;
const PITCH_LIMIT = 1.45;
const YAW_LIMIT = 1.5;
/** Room around the model when it is fitted, in pixels. */
const MARGIN_PX = 18;

/** The camera and where it is going. Knows no events. */
export class CameraRig {
  readonly camera = new PerspectiveCamera((FIELD_OF_VIEW * 180) / Math.PI, 1, 1, 1e5);
  pose: Pose = { target: [0, 0, 0], distance: 1000, ...FIRST_ANGLES };
  width = 1;
  height = 1;
  insets: Insets = { left: 0, right: 0, top: 0, bottom: 0 };
  reducedMotion = false;
  /** Whether the camera stands where a person put it. */
  moved = false;
  private flight: { from: Pose; to: Pose; start: number | null } | null = null;
  private limits = { near: 1, far: 1e4 };

  get view(): View {
    const { left, right, top, bottom } = this.insets;
    return {
      pose: this.pose,
      width: this.width,
      height: this.height,
      offset: { x: (left - right) / 2, y: (top - bottom) / 2 },
    };
  }

  get free(): { width: number; height: number } {
    const { left, right, top, bottom } = this.insets;
    return {
      width: Math.max(120, this.width - left - right - 2 * MARGIN_PX),
      height: Math.max(120, this.height - top - bottom - 2 * MARGIN_PX),
    };
  }

  /** Moves on with a flight; true while it lasts. */
  advance(now: number): boolean {
    if (!this.flight) return false;
    this.flight.start ??= now;
    const { from, to, start } = this.flight;
    const t = Math.min(1, (now - start) / EASE_MS);
    const eased = 1 - (1 - t) ** 3;
    const mix = (a: number, b: number) => a + (b - a) * eased;
    this.pose = {
      target: [0, 1, 2].map((axis) =>
        mix(from.target[axis] as number, to.target[axis] as number),
      ) as unknown as Vec3,
      yaw: mix(from.yaw, to.yaw),
      pitch: mix(from.pitch, to.pitch),
      distance: Math.exp(mix(Math.log(from.distance), Math.log(to.distance))),
    };
    if (t >= 1) this.flight = null;
    return this.flight !== null;
  }

  /** Brings the three.js camera to the pose. */
  apply(): void {
    const { view, camera, pose } = this;
    camera.aspect = this.width / this.height;
    camera.near = pose.distance * 0.02;
    camera.far = pose.distance * 20 + 1e4;
    camera.setViewOffset(this.width, this.height, -view.offset.x, -view.offset.y, this.width, this.height);
    camera.position.set(...eyeOf(pose));
    camera.lookAt(...pose.target);
    camera.updateMatrixWorld();
  }

  flyTo(pose: Pose): void {
    if (this.reducedMotion) {
      this.pose = pose;
      this.flight = null;
    } else {
      this.flight = { from: this.pose, to: pose, start: null };
    }
  }

  jumpTo(pose: Pose): void {
    this.pose = pose;
    this.flight = null;
  }

  /** The pose that shows all of `points` in what is free. */
  poseFor(points: readonly Vec3[], angles: Pick<Pose, "yaw" | "pitch"> = FIRST_ANGLES): Pose {
    return fitPose(points, angles, this.free, this.height);
  }

  setLimits(bounds: Bounds): void {
    const size = Math.max(...bounds.max.map((high, axis) => high - (bounds.min[axis] as number)));
    this.limits = { near: 1.2, far: size * 8 };
  }

  turn(dx: number, dy: number): void {
    this.take();
    const { pose } = this;
    this.pose = {
      ...pose,
      yaw: clamp(pose.yaw - dx * 0.006, -YAW_LIMIT, YAW_LIMIT),
      pitch: clamp(pose.pitch + dy * 0.006, -PITCH_LIMIT, PITCH_LIMIT),
    };
  }

  /** Moves what is at the target by so many pixels. */
  pan(dx: number, dy: number): void {
    this.take();
    const { right, up } = axesOf(this.pose);
    const units = (2 * Math.tan(FIELD_OF_VIEW / 2) * this.pose.distance) / this.height;
    const target = add(this.pose.target, add(scale(right, -dx * units), scale(up, dy * units)));
    this.pose = { ...this.pose, target };
  }

  /** Comes nearer (factor < 1) or goes away, keeping what is under the pixel in place. */
  zoom(factor: number, x: number, y: number): void {
    this.take();
    const distance = clamp(this.pose.distance * factor, this.limits.near, this.limits.far);
    const { offset } = this.view;
    const before = (2 * Math.tan(FIELD_OF_VIEW / 2) * this.pose.distance) / this.height;
    const after = (2 * Math.tan(FIELD_OF_VIEW / 2) * distance) / this.height;
    const { right, up } = axesOf(this.pose);
    const dx = (x - this.width / 2 - offset.x) * (before - after);
    const dy = -(y - this.height / 2 - offset.y) * (before - after);
    this.pose = {
      ...this.pose,
      distance,
      target: add(this.pose.target, add(scale(right, dx), scale(up, dy))),
    };
  }

  /** Sets the depth one turns about and zooms to, without changing the picture. */
  pivot(at: Vec3): void {
    const { back } = axesOf(this.pose);
    const eye = eyeOf(this.pose);
    const depth = (eye[0] - at[0]) * back[0] + (eye[1] - at[1]) * back[1] + (eye[2] - at[2]) * back[2];
    if (depth < this.limits.near) return;
    this.pose = { ...this.pose, distance: depth, target: add(eye, scale(back, -depth)) };
  }

  private take(): void {
    this.moved = true;
    this.flight = null;
  }
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}
