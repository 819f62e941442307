/**
 * Runs one request at a time; of those asked for meanwhile only the newest follows. Unlike `LatestRequest` it never
 * cancels, so a value that changes faster than the server answers still shows answers along the way.
 */
export class SerialRequest {
  #busy = false;
  #next: (() => Promise<void>) | null = null;

  run(request: () => Promise<void>): void {
    if (this.#busy) {
      this.#next = request;
      return;
    }
    this.#busy = true;
    request().finally(() => {
      this.#busy = false;
      const next = this.#next;
      this.#next = null;
      if (next) this.run(next);
    });
  }
}
