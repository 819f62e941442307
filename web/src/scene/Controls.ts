import type { CameraRig } from "./CameraRig";

export interface ControlEvents {
  /** The camera moved. */
  onMove(reason: string): void;
  onPoint(at: { x: number; y: number } | null): void;
  onClick(at: { x: number; y: number }): void;
  /** Called before a zoom or a turn, to set the depth it acts at. */
  onGrasp(at: { x: number; y: number }): void;
  onFit(): void;
  onDoubleClick(at: { x: number; y: number }): void;
}

/** A press that moved less than this is a click, in pixels. */
const CLICK_PX = 4;
const KEY_PAN_PX = 60;
const KEY_TURN_PX = 40;

/**
 * Mouse, touch and keys: drag turns, drag with the right button or Shift moves, the wheel comes nearer at the pointer;
 * one finger turns, two move and pinch; arrows move, Shift+arrows turn, + and − come nearer and go, F or Home fits.
 */
export class Controls {
  private readonly pointers = new Map<number, { x: number; y: number }>();
  private pressed: { x: number; y: number; moved: boolean } | null = null;
  private readonly abort = new AbortController();
  private readonly canvas: HTMLCanvasElement;
  private readonly rig: CameraRig;
  private readonly events: ControlEvents;

  constructor(canvas: HTMLCanvasElement, rig: CameraRig, events: ControlEvents) {
    this.canvas = canvas;
    this.rig = rig;
    this.events = events;
    if (canvas.tabIndex < 0) canvas.tabIndex = 0;
    canvas.style.touchAction = "none";
    const { signal } = this.abort;
    canvas.addEventListener("pointerdown", this.down, { signal });
    canvas.addEventListener("pointermove", this.move, { signal });
    canvas.addEventListener("pointerup", this.up, { signal });
    canvas.addEventListener("pointercancel", this.up, { signal });
    canvas.addEventListener("pointerleave", () => this.pointers.size === 0 && events.onPoint(null), {
      signal,
    });
    canvas.addEventListener("dblclick", (event) => events.onDoubleClick(this.at(event)), { signal });
    canvas.addEventListener("wheel", this.wheel, { signal, passive: false });
    canvas.addEventListener("keydown", this.key, { signal });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault(), { signal });
  }

  dispose(): void {
    this.abort.abort();
  }

  private at(event: MouseEvent): { x: number; y: number } {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  private readonly down = (event: PointerEvent): void => {
    const at = this.at(event);
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, at);
    this.pressed = this.pointers.size === 1 ? { ...at, moved: false } : null;
    this.events.onGrasp(at);
  };

  private readonly move = (event: PointerEvent): void => {
    const at = this.at(event);
    const last = this.pointers.get(event.pointerId);
    if (!last) {
      if (event.pointerType !== "touch") this.events.onPoint(at);
      return;
    }
    const before = [...this.pointers.values()];
    this.pointers.set(event.pointerId, at);
    const after = [...this.pointers.values()];
    if (before.length === 1) {
      if (this.pressed && Math.hypot(at.x - this.pressed.x, at.y - this.pressed.y) > CLICK_PX)
        this.pressed.moved = true;
      if (this.pressed && !this.pressed.moved) return;
      const [dx, dy] = [at.x - last.x, at.y - last.y];
      if (event.shiftKey || event.ctrlKey || event.buttons === 2 || event.buttons === 4) this.rig.pan(dx, dy);
      else this.rig.turn(dx, dy);
      this.events.onPoint(null);
    } else {
      const [a, b] = [pinchOf(before), pinchOf(after)];
      this.rig.pan(b.x - a.x, b.y - a.y);
      this.rig.zoom(a.spread / Math.max(1, b.spread), b.x, b.y);
    }
    this.events.onMove("camera");
  };

  private readonly up = (event: PointerEvent): void => {
    const at = this.at(event);
    if (event.type === "pointerup" && this.pressed && !this.pressed.moved && event.button === 0)
      this.events.onClick(at);
    this.pointers.delete(event.pointerId);
    this.pressed = null;
  };

  private readonly wheel = (event: WheelEvent): void => {
    event.preventDefault();
    const at = this.at(event);
    const lines = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1;
    this.events.onGrasp(at);
    // A pinch on a touchpad arrives as a wheel with Ctrl, in much smaller steps.
    const speed = event.ctrlKey ? 0.01 : 0.0016;
    this.rig.zoom(Math.exp(Math.max(-240, Math.min(240, event.deltaY * lines)) * speed), at.x, at.y);
    this.events.onMove("camera");
  };

  private readonly key = (event: KeyboardEvent): void => {
    if (event.altKey || event.metaKey || event.ctrlKey) return;
    const { rig } = this;
    const centre = { x: rig.width / 2 + rig.view.offset.x, y: rig.height / 2 + rig.view.offset.y };
    const arrows: Record<string, [number, number]> = {
      ArrowLeft: [1, 0],
      ArrowRight: [-1, 0],
      ArrowUp: [0, 1],
      ArrowDown: [0, -1],
    };
    const arrow = arrows[event.key];
    if (arrow && event.shiftKey) rig.turn(-arrow[0] * KEY_TURN_PX, -arrow[1] * KEY_TURN_PX);
    else if (arrow) rig.pan(arrow[0] * KEY_PAN_PX, arrow[1] * KEY_PAN_PX);
    else if (event.key === "+" || event.key === "=") rig.zoom(0.8, centre.x, centre.y);
    else if (event.key === "-" || event.key === "_") rig.zoom(1.25, centre.x, centre.y);
    else if (event.key === "f" || event.key === "F" || event.key === "Home") this.events.onFit();
    else return;
    event.preventDefault();
    this.events.onMove("camera");
  };
}

function pinchOf(points: { x: number; y: number }[]): { x: number; y: number; spread: number } {
  const [a, b] = [points[0], points[1] ?? points[0]];
  if (!a || !b) return { x: 0, y: 0, spread: 1 };
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, spread: Math.hypot(a.x - b.x, a.y - b.y) };
}
