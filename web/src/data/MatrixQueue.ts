import { isAbort } from "./fetchFromServer";

export interface Job<Result> {
  key: string;
  /** Light jobs share a request with each other, so many of them may run at once. */
  isLight?: boolean;
  read(signal: AbortSignal): Promise<Result>;
}

export interface QueueListener<Result> {
  onResult(key: string, result: Result): void;
  onFailure(key: string, error: unknown): void;
}

/** Below the browser's six connections a host, so that a click's own request never waits behind the scenery. */
const PARALLEL = 4;
/** How many light jobs may run at once: as many as share one request. */
const LIGHT = 64;

/**
 * Reads what is wanted, in the order wanted. Each new list replaces the last: what fell out of it is cancelled,
 * what has been delivered is not read again.
 */
export class MatrixQueue<Result> {
  readonly #listener: QueueListener<Result>;
  readonly #running = new Map<string, AbortController>();
  readonly #settled = new Set<string>();
  readonly #failed = new Set<string>();
  #wanted: Job<Result>[] = [];

  constructor(listener: QueueListener<Result>) {
    this.#listener = listener;
  }

  /** How many of the wanted jobs have neither succeeded nor failed yet. */
  get waiting(): number {
    return this.#wanted.filter((job) => !this.#settled.has(job.key)).length;
  }

  want(jobs: Job<Result>[]): void {
    this.#wanted = jobs;
    const keys = new Set(jobs.map((job) => job.key));
    for (const [key, controller] of this.#running) {
      if (keys.has(key)) continue;
      controller.abort();
      this.#running.delete(key);
    }
    // The scene may have dropped what is no longer wanted, so it is read again (from the cache) if wanted again.
    for (const key of this.#settled) if (!keys.has(key)) this.#settled.delete(key);
    this.#fill();
  }

  /** Forgets all results, and cancels what is running: the scene that they were meant for is gone. */
  forget(): void {
    for (const controller of this.#running.values()) controller.abort();
    this.#running.clear();
    this.#settled.clear();
    this.#failed.clear();
  }

  /** Starts the failed jobs again that are still wanted. */
  retry(): void {
    for (const key of this.#failed) this.#settled.delete(key);
    this.#failed.clear();
    this.#fill();
  }

  #fill(): void {
    for (const job of this.#wanted) {
      if (this.#running.size >= (job.isLight ? LIGHT : PARALLEL)) continue;
      if (!this.#running.has(job.key) && !this.#settled.has(job.key)) void this.#start(job);
    }
  }

  async #start(job: Job<Result>): Promise<void> {
    const controller = new AbortController();
    this.#running.set(job.key, controller);
    try {
      const result = await job.read(controller.signal);
      if (controller.signal.aborted) return;
      this.#settled.add(job.key);
      this.#failed.delete(job.key);
      this.#listener.onResult(job.key, result);
    } catch (error) {
      if (controller.signal.aborted || isAbort(error)) return;
      this.#settled.add(job.key);
      this.#failed.add(job.key);
      this.#listener.onFailure(job.key, error);
    } finally {
      if (this.#running.get(job.key) === controller) this.#running.delete(job.key);
      this.#fill();
    }
  }
}
