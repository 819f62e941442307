/** Draws when something asks for it, and only then: an idle page draws nothing. */
export class Scheduler {
  lastReason = "";
  frames = 0;
  private requested = 0;
  private reason = "";
  private readonly draw: (now: number, reason: string) => string | null;

  /** `draw` returns why another frame is needed, or null. */
  constructor(draw: (now: number, reason: string) => string | null) {
    this.draw = draw;
  }

  redraw(reason: string): void {
    this.reason = reason;
    if (this.requested === 0) this.requested = requestAnimationFrame(this.frame);
  }

  dispose(): void {
    cancelAnimationFrame(this.requested);
    this.requested = -1;
  }

  private readonly frame = (now: number): void => {
    this.requested = 0;
    this.lastReason = this.reason;
    this.frames++;
    const again = this.draw(now, this.lastReason);
    if (again !== null) this.redraw(again);
  };
}
