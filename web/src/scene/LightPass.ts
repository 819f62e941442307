/** Beyond this, everything is lit and nothing pulses. */
const AFTER = 2;
const DURATION_SECS = 2.6;
/** The pass runs a little past the end, so that the skyline lights too. */
const END = 1.08;
/** How long a new column glows. */
const FRESH_SECS = 0.7;

/** How long a new tile is on its way. */
const ARRIVAL_SECS = 0.4;

/** Where things are at a moment. */
export interface Light {
  /** How far light has come, as a fraction of the computation; beyond 1 all is lit. */
  pass: number;
  /** The newest column and how brightly it glows. */
  newest: [number, number];
  /** A tile on its way from the skyline to its place. */
  arriving: { token: number; share: number } | null;
  running: boolean;
}

/** Where the light is: a function of time, scrubbed both ways. */
export class LightPass {
  reducedMotion = false;
  private fraction = AFTER;
  private playing: { start: number | null; durationSecs: number } | null = null;
  private arrival: { token: number; start: number | null } | null = null;
  private fresh: { column: number; start: number | null } | null = null;

  get isPlaying(): boolean {
    return this.playing !== null;
  }

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

  /** A new token's tile sets out from the skyline. */
  arrive(token: number): void {
    if (!this.reducedMotion) this.arrival = { token, start: null };
  }

  /** Moves on; returns what the shaders need and whether more is to come. */
  advance(now: number): Light {
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
    let arriving: Light["arriving"] = null;
    if (this.arrival) {
      this.arrival.start ??= now;
      const t = (now - this.arrival.start) / 1000 / ARRIVAL_SECS;
      if (t >= 1) this.arrival = null;
      else arriving = { token: this.arrival.token, share: 1 - (1 - t) ** 3 };
    }
    const running = this.playing !== null || this.fresh !== null || this.arrival !== null;
    return { pass: this.fraction, newest, arriving, running };
  }
}
