import { isAbort } from "./fetchFromServer";

/** Runs only the newest of a series of requests: a newer one cancels the one under way, and waits out the delay first. */
export class LatestRequest {
  readonly #delayMs: number;
  #controller: AbortController | null = null;

  constructor(delayMs = 0) {
    this.#delayMs = delayMs;
  }

  cancel(): void {
    this.#controller?.abort();
    this.#controller = null;
  }

  /** Resolves to null if a newer request took its place. */
  async run<T>(request: (signal: AbortSignal) => Promise<T>): Promise<T | null> {
    this.cancel();
    const controller = new AbortController();
    this.#controller = controller;
    try {
      if (this.#delayMs > 0) await wait(this.#delayMs);
      if (controller.signal.aborted) return null;
      const answer = await request(controller.signal);
      return controller.signal.aborted ? null : answer;
    } catch (error) {
      if (controller.signal.aborted || isAbort(error)) return null;
      throw error;
    }
  }
}

function wait(durationMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, durationMs));
}
