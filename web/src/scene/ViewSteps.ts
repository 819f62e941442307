/** A drag or a turn of the wheel is one step, until nothing moved for this long. */
const STEP_MS = 700;
/** Nobody counts further back, and each is a few numbers. */
const MOST_STEPS = 100;

/** Where a camera stood before each step somebody took with it, to go back and forth between them. */
export class ViewSteps<View> {
  private past: View[] = [];
  private future: View[] = [];
  private movedAt = Number.NEGATIVE_INFINITY;

  get canUndo(): boolean {
    return this.past.length > 0;
  }

  get canRedo(): boolean {
    return this.future.length > 0;
  }

  /** Called before a movement from `current`; those that follow at once are part of the same step. */
  begin(current: View, nowMs: number): void {
    const isSameStep = nowMs - this.movedAt < STEP_MS;
    this.movedAt = nowMs;
    if (isSameStep) return;
    this.past = [...this.past, current].slice(-MOST_STEPS);
    this.future = [];
  }

  undo(current: View): View | null {
    return this.step(current, "past", "future");
  }

  redo(current: View): View | null {
    return this.step(current, "future", "past");
  }

  private step(current: View, from: "past" | "future", to: "past" | "future"): View | null {
    const view = this[from].at(-1);
    if (view === undefined) return null;
    this[from] = this[from].slice(0, -1);
    this[to] = [...this[to], current];
    this.movedAt = Number.NEGATIVE_INFINITY;
    return view;
  }
}
