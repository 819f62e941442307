/** Slower than this between frames, motion is no longer motion. */
const SLOW_MS = 70;
/** Fast enough to try full fidelity in motion again. */
const FAST_MS = 24;
/** A gap longer than this is a pause, not a slow frame. */
const PAUSE_MS = 900;
/** How long a picture must rest before it is drawn in full. */
const REST_MS = 160;
const COARSE = 0.6;

/** Draws moving pictures at fewer pixels where a device is slow, and every picture that rests in full. */
export class Fidelity {
  private last = Number.NEGATIVE_INFINITY;
  private interval = 0;
  private slow = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly refine: () => void;

  /** `refine` asks for one frame in full. */
  constructor(refine: () => void) {
    this.refine = refine;
  }

  /** Whether motion has been found to be dear here. */
  get isSlow(): boolean {
    return this.slow;
  }

  /** The share of the device's pixels to draw this frame with. */
  choose(now: number, moving: boolean): number {
    const gap = now - this.last;
    this.last = now;
    clearTimeout(this.timer);
    if (!moving) {
      this.interval = 0;
      return 1;
    }
    if (gap < PAUSE_MS) this.interval = this.interval === 0 ? gap : this.interval * 0.6 + gap * 0.4;
    if (this.interval > SLOW_MS) this.slow = true;
    if (this.interval > 0 && this.interval < FAST_MS) this.slow = false;
    if (!this.slow) return 1;
    this.timer = setTimeout(this.refine, REST_MS);
    return COARSE;
  }

  dispose(): void {
    clearTimeout(this.timer);
  }
}
