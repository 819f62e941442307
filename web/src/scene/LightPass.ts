/** Beyond this, everything is lit and nothing pulses. */
const AFTER = 2;
const DURATION_SECS = 2.6;
/** The pass runs a little past the end, so that the skyline lights too. */
const END = 1.08;
/** How long a new column glows. */
const FRESH_SECS = 0.7;

/** Where the light is: a function of time, scrubbed both ways. */
export class LightPass {
  reducedMotion = false;
  private fraction = AFTER;
  private playing: { start: number | null; durationSecs: number } | null = null;
  private fresh: { column: number; start: number | null } | null = null;

  play(durationSecs = DURATION_SECS): void {
    this.fraction = this.reducedMotion ? AFTER : 0;
    this.playing = this.reducedMotion ? null : { start: null, durationSecs };
  }

  scrub(fraction: number): void {
    this.playing = null;
    this.fraction = fraction >= 1 ? AFTER : Math.max(0, fraction) * END;
  }

  freshen(column: number): void {
    if (!this.reducedMotion) this.fresh = { column, start: null };
  }

  /** Moves on; returns what the shaders need and whether more is to come. */
  advance(now: number): { pass: number; newest: [number, number]; running: boolean } {
    if (this.playing) {
      this.playing.start ??= now;
      const t = (now - this.playing.start) / 1000 / this.playing.durationSecs;
      this.fraction = t * END;
      if (t >= 1) {
        this.playing = null;
        this.fraction = AFTER;
      }
    }
    let newest: [number, number] = [-1, 0];
    if (this.fresh) {
      this.fresh.start ??= now;
      const t = (now - this.fresh.start) / 1000 / FRESH_SECS;
      if (t >= 1) this.fresh = null;
      else newest = [this.fresh.column, (1 - t) ** 2];
    }
    return { pass: this.fraction, newest, running: this.playing !== null || this.fresh !== null };
  }
}
