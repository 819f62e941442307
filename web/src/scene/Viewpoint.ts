import { FIELD_OF_VIEW, type Pose, project } from "../layout/Camera";
import type { Cell } from "../layout/Cell";
import { cornersOf } from "../layout/keepInView";
import type { BlockPlace, Layout } from "../layout/Layout";
import { type Plate, pointAt, pointOfCell, shows } from "../layout/Plate";
import type { Vec3 } from "../layout/Vec3";
import type { CameraRig } from "./CameraRig";
import type { RestingView, Scene } from "./Scene";

/** `focus` and a double click leave this much around what they show. */
const ROOM = 1.35;
/** How wide a cell is that somebody asks to see. */
const CELL_PX = 56;
/** A double click comes at least so much nearer. */
const NEARER = 0.5;
/** The camera rests once it has stood still for this long. */
const REST_MS = 250;

type Point = { x: number; y: number };

/** Where somebody asks to look: at plates, at what was double-clicked, back and forth; tells when the camera rests. */
export class Viewpoint {
  private readonly rig: CameraRig;
  private readonly redraw: (reason: string) => void;
  private readonly onView: (view: RestingView) => void;
  private told = "";
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(rig: CameraRig, redraw: (reason: string) => void, onView: (view: RestingView) => void) {
    this.rig = rig;
    this.redraw = redraw;
    this.onView = onView;
  }

  /** What a scene offers of this. */
  readonly commands: Pick<Scene, "undoView" | "redoView" | "setView"> = {
    undoView: () => this.retrace("undo"),
    redoView: () => this.retrace("redo"),
    setView: (pose) => {
      this.rig.remember();
      this.rig.moved = true;
      this.rig.jumpTo(pose);
      this.redraw("view");
    },
  };

  /**
   * Flies to where these plates fill what is free, at `most` so far off; or to where a cell of one is large enough to be
   * read.
   */
  lookAt(
    plates: readonly Plate[],
    { most = Number.POSITIVE_INFINITY, cell }: { most?: number; cell?: Cell | undefined } = {},
  ): void {
    if (plates.length === 0) return;
    const plate = cell && plates.find((each) => shows(each, cell));
    if (plate) {
      const side = Math.hypot(...plate.right) / plate.columns.count;
      const distance = (side * this.rig.height) / (2 * Math.tan(FIELD_OF_VIEW / 2) * CELL_PX);
      const { yaw, pitch } = this.rig.pose;
      this.goTo({ target: pointOfCell(plate, cell), distance, yaw, pitch });
      return;
    }
    const corners = plates.flatMap((plate) => [0, 1].flatMap((u) => [0, 1].map((v) => pointAt(plate, u, v))));
    this.frame(corners, most);
  }

  /** Flies to the block at this pixel; false where there is none. */
  lookAtBlock(layout: Layout, at: Point): boolean {
    const block = layout.blocks.find((each) => this.covers(each, at));
    if (!block) return false;
    // Who sees little more than a block already wants to come nearer to what is under the pointer.
    const { yaw, pitch, distance } = this.rig.pose;
    const fitted = this.rig.poseFor(cornersOf(block.bounds), { yaw, pitch }).distance * ROOM;
    if (fitted < NEARER * distance) this.frame(cornersOf(block.bounds));
    else this.goTo(this.rig.zoomed(NEARER, at.x, at.y));
    return true;
  }

  /** Called after each frame. */
  drawn(isMoving: boolean): void {
    clearTimeout(this.timer);
    if (!isMoving) this.timer = setTimeout(this.tell, REST_MS);
  }

  dispose(): void {
    clearTimeout(this.timer);
  }

  private frame(points: Vec3[], most = Number.POSITIVE_INFINITY): void {
    const { yaw, pitch } = this.rig.pose;
    const pose = this.rig.poseFor(points, { yaw, pitch });
    this.goTo({ ...pose, distance: Math.min(pose.distance * ROOM, most) });
  }

  private goTo(pose: Pose): void {
    this.rig.goTo(pose);
    this.redraw("focus");
  }

  private covers({ bounds }: BlockPlace, at: Point): boolean {
    const corners = cornersOf(bounds).map((corner) => project(this.rig.view, corner));
    if (corners.includes(null)) return false;
    const xs = corners.map((corner) => corner?.x ?? 0);
    const ys = corners.map((corner) => corner?.y ?? 0);
    return (
      at.x > Math.min(...xs) && at.x < Math.max(...xs) && at.y > Math.min(...ys) && at.y < Math.max(...ys)
    );
  }

  private retrace(way: "undo" | "redo"): void {
    if (this.rig.retrace(way)) this.redraw("view");
  }

  private readonly tell = (): void => {
    const { moved, pose, canUndo, canRedo } = this.rig;
    const view = { pose: moved ? pose : null, canUndo, canRedo };
    const text = JSON.stringify(view);
    if (text === this.told) return;
    this.told = text;
    this.onView(view);
  };
}
