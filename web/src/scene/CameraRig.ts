import { PerspectiveCamera } from "three";
import { axesOf, eyeOf, FIELD_OF_VIEW, type Pose, type View } from "../layout/Camera";
import { fitPose } from "../layout/fitPose";
import { keepInView } from "../layout/keepInView";
import type { Bounds } from "../layout/Layout";
import { add, scale, type Vec3 } from "../layout/Vec3";
import type { Insets } from "./Insets";
import { ViewSteps } from "./ViewSteps";

/** The first look: from a little left and above, so that shelves and wings show their depth. */
export const FIRST_ANGLES = { yaw: -0.1, pitch: 0.12 };
const EASE_MS = 380;
const PITCH_LIMIT = 1.45;
const YAW_LIMIT = 1.5;
/** Room around the model when it is fitted, in pixels. */
const MARGIN_PX = 18;
/** What has to be seen keeps at least this distance from panels and edges, in pixels. */
const REVEAL_PX = 40;
/** However somebody moves, so much of the model stays in what panels leave free, in pixels. */
const KEPT_PX = 96;

/** What decides a picture: a pose, and where in the window its target stands. */
interface Framing {
  pose: Pose;
  offset: View["offset"];
}

/**
 * The camera, and the flight that it is on. Knows no events. Panels that open or close do not move the picture: they
 * change `insets`, the part of the window that they cover, and the next flight goes to the middle of what is left free.
 */
export class CameraRig {
  readonly camera = new PerspectiveCamera((FIELD_OF_VIEW * 180) / Math.PI, 1, 1, 1e5);
  pose: Pose = { target: [0, 0, 0], distance: 1000, ...FIRST_ANGLES };
  width = 1;
  height = 1;
  insets: Insets = { left: 0, right: 0, top: 0, bottom: 0 };
  reducedMotion = false;
  /** Whether the camera stands where a person put it. */
  moved = false;
  private offset: View["offset"] = { x: 0, y: 0 };
  private flight: { from: Framing; to: Framing; start: number | null } | null = null;
  private limits = { near: 1, far: 1e4 };
  private bounds: Bounds | null = null;
  private readonly steps = new ViewSteps<Framing & { moved: boolean }>();

  get canUndo(): boolean {
    return this.steps.canUndo;
  }

  get canRedo(): boolean {
    return this.steps.canRedo;
  }

  get view(): View {
    return { pose: this.pose, width: this.width, height: this.height, offset: this.offset };
  }

  /** The view at the end of the flight that is under way, if one is. */
  get goal(): View {
    return { ...this.view, ...this.flight?.to };
  }

  /** From the window's middle to the middle of what is free. */
  private get centre(): View["offset"] {
    const { left, right, top, bottom } = this.insets;
    return { x: (left - right) / 2, y: (top - bottom) / 2 };
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
    const { start } = this.flight;
    const [from, to] = [this.flight.from.pose, this.flight.to.pose];
    const [out, into] = [this.flight.from.offset, this.flight.to.offset];
    const t = Math.min(1, (now - start) / EASE_MS);
    if (t >= 1) {
      this.jump(this.flight.to);
      return false;
    }
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
    this.offset = { x: mix(out.x, into.x), y: mix(out.y, into.y) };
    return true;
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

  /** Brings a pose into the middle of what is free. */
  flyTo(pose: Pose): void {
    this.fly({ pose, offset: this.centre });
  }

  /** As somebody asked for: a step that can be undone, and a place to stay at. */
  goTo(pose: Pose): void {
    this.remember();
    this.moved = true;
    this.flyTo(pose);
  }

  /** Notes where the camera stands, before a step that can be undone. */
  remember(): void {
    const { pose, offset } = this.goal;
    this.steps.begin({ pose, offset, moved: this.moved }, performance.now());
  }

  /** Back to where the camera stood before the last step, or forth again; false where there is none. */
  retrace(way: "undo" | "redo"): boolean {
    const { pose, offset } = this.goal;
    const there = this.steps[way]({ pose, offset, moved: this.moved });
    if (!there) return false;
    this.moved = there.moved;
    this.fly({ pose: there.pose, offset: there.offset });
    return true;
  }

  jumpTo(pose: Pose): void {
    this.jump({ pose, offset: this.centre });
  }

  /**
   * Moves the picture just so far that what stands at this pixel, once a flight has ended, is not covered by a panel.
   */
  reveal(at: { x: number; y: number }): void {
    const { left, right, top, bottom } = this.insets;
    const { pose, offset } = this.goal;
    const dx = intoRange(at.x, left + REVEAL_PX, this.width - right - REVEAL_PX) - at.x;
    const dy = intoRange(at.y, top + REVEAL_PX, this.height - bottom - REVEAL_PX) - at.y;
    if (dx === 0 && dy === 0) return;
    this.fly({ pose, offset: { x: offset.x + dx, y: offset.y + dy } });
  }

  /** The window has another size: what is near keeps its size on the screen, and its place in what is free. */
  resize(width: number, height: number): void {
    const factor = height / this.height;
    const scaled = (pose: Pose) => ({ ...pose, distance: pose.distance * factor });
    if (this.flight) {
      const { from, to } = this.flight;
      this.flight.from = { ...from, pose: scaled(from.pose) };
      this.flight.to = { ...to, pose: scaled(to.pose) };
    }
    this.pose = scaled(this.pose);
    this.width = width;
    this.height = height;
  }

  private fly(to: Framing): void {
    // A flight that changes nothing would draw frames for nothing.
    if (isSame(to, this.goal)) return;
    if (this.reducedMotion) this.jump(to);
    else this.flight = { from: { pose: this.pose, offset: this.offset }, to, start: null };
  }

  private jump({ pose, offset }: Framing): void {
    this.pose = pose;
    this.offset = offset;
    this.flight = null;
  }

  /** The pose that shows all of `points` in what is free. */
  poseFor(points: readonly Vec3[], angles: Pick<Pose, "yaw" | "pitch"> = FIRST_ANGLES): Pose {
    return fitPose(points, angles, this.free, this.height);
  }

  setLimits(bounds: Bounds): void {
    const size = Math.max(...bounds.max.map((high, axis) => high - (bounds.min[axis] as number)));
    this.limits = { near: 1.2, far: size * 8 };
    this.bounds = bounds;
  }

  /** There is nothing to look at: until there is, nobody moves the camera out of its sight. */
  forget(): void {
    this.bounds = null;
    this.moved = false;
  }

  turn(dx: number, dy: number): void {
    if (!this.take()) return;
    const { pose } = this;
    this.pose = {
      ...pose,
      yaw: clamp(pose.yaw - dx * 0.006, -YAW_LIMIT, YAW_LIMIT),
      pitch: clamp(pose.pitch + dy * 0.006, -PITCH_LIMIT, PITCH_LIMIT),
    };
    this.hold();
  }

  /** Moves the picture by so many pixels, measured at the depth of the target. */
  pan(dx: number, dy: number): void {
    if (!this.take()) return;
    const { right, up } = axesOf(this.pose);
    const units = (2 * Math.tan(FIELD_OF_VIEW / 2) * this.pose.distance) / this.height;
    const target = add(this.pose.target, add(scale(right, -dx * units), scale(up, dy * units)));
    this.pose = { ...this.pose, target };
    this.hold();
  }

  /** Zooms in (factor < 1) or out, keeping what is under the pixel in place. */
  zoom(factor: number, x: number, y: number): void {
    if (!this.take()) return;
    this.pose = this.zoomed(factor, x, y);
    this.hold();
  }

  /** The pose that is so many times as far away, with what is under the pixel in its place. */
  zoomed(factor: number, x: number, y: number): Pose {
    const distance = clamp(this.pose.distance * factor, this.limits.near, this.limits.far);
    const { offset } = this.view;
    const before = (2 * Math.tan(FIELD_OF_VIEW / 2) * this.pose.distance) / this.height;
    const after = (2 * Math.tan(FIELD_OF_VIEW / 2) * distance) / this.height;
    const { right, up } = axesOf(this.pose);
    const dx = (x - this.width / 2 - offset.x) * (before - after);
    const dy = -(y - this.height / 2 - offset.y) * (before - after);
    return {
      ...this.pose,
      distance,
      target: add(this.pose.target, add(scale(right, dx), scale(up, dy))),
    };
  }

  /** Sets the depth one turns about and zooms to, without changing the picture. */
  pivot(at: Vec3 | null): void {
    if (!at) return;
    const { back } = axesOf(this.pose);
    const eye = eyeOf(this.pose);
    const depth = (eye[0] - at[0]) * back[0] + (eye[1] - at[1]) * back[1] + (eye[2] - at[2]) * back[2];
    if (depth < this.limits.near) return;
    this.pose = { ...this.pose, distance: depth, target: add(eye, scale(back, -depth)) };
  }

  /** Whether there is something to move the camera about; then it stands where a person puts it. */
  private take(): boolean {
    if (!this.bounds) return false;
    this.remember();
    this.moved = true;
    this.flight = null;
    return true;
  }

  /** Keeps some of the model in view. */
  private hold(): void {
    if (!this.bounds) return;
    const { left, right, top, bottom } = this.insets;
    const area = { left, right: this.width - right, top, bottom: this.height - bottom };
    // A pixel is worth more at some depths than at the target's, so one shift need not be enough.
    for (let shift = 0; shift < 4; shift += 1) {
      const { pose } = this;
      this.pose = keepInView(this.view, this.bounds, area, KEPT_PX);
      if (this.pose === pose) return;
    }
  }
}

function isSame(one: Framing, other: Framing): boolean {
  const numbers = ({ pose, offset }: Framing) => [
    ...pose.target,
    pose.yaw,
    pose.pitch,
    pose.distance,
    offset.x,
    offset.y,
  ];
  const others = numbers(other);
  return numbers(one).every((value, at) => Math.abs(value - (others[at] as number)) < 1e-6);
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}

/** The nearest number in a range; its middle where the range is empty. */
function intoRange(value: number, low: number, high: number): number {
  return low > high ? (low + high) / 2 : clamp(value, low, high);
}
