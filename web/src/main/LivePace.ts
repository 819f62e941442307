/** While a text is written, questions about it are at least so far apart, */
const PAUSE_MS = 300;
/** and take at most this share of the time, so that watching costs next to nothing. */
const SHARE = 1 / 20;

/** How often something is asked about a text that is being written. */
export class LivePace {
  #earliestMs = 0;

  /** How long the next question has to wait from now. */
  get waitMs(): number {
    return Math.max(0, this.#earliestMs - performance.now());
  }

  /** A question is asked; call what is returned once it has been answered. */
  begin(): () => void {
    const startedMs = performance.now();
    this.#earliestMs = startedMs + PAUSE_MS;
    return () => {
      const now = performance.now();
      this.#earliestMs = now + Math.max(PAUSE_MS, (now - startedMs) / SHARE);
    };
  }
}
