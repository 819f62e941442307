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
  /** Whether the same question may be answered later; without it nothing is asked again by itself. */
  mayPass?(error: unknown): boolean;
}

/** Below the browser's six connections a host, so that a click's own request never waits behind the scenery. */
const PARALLEL = 4;
/** How many light jobs may run at once. They share a request, which should not take long to answer: a block or two. */
const LIGHT = 24;
/** After how long what failed is read again: each time twice as long, up to the last. */
const [FIRST_RETRY_MS, LAST_RETRY_MS] = [2_000, 60_000];

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
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #retryMs = FIRST_RETRY_MS;

  constructor(listener: QueueListener<Result>) {
    this.#listener = listener;
  }

  /** How many of the wanted jobs have neither succeeded nor failed yet. */
  get waiting(): number {
    return this.#wanted.filter((job) => !this.#settled.has(job.key)).length;
  }

  /** Reads these again, as if they had not come. */
  again(keys: Iterable<string>): void {
    for (const key of keys) this.#settled.delete(key);
  }

  /** The keys of those that have failed. */
  get failed(): ReadonlySet<string> {
    return this.#failed;
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
    for (const known of [this.#settled, this.#failed])
      for (const key of known) if (!keys.has(key)) known.delete(key);
    this.#fill();
  }

  /** Cancels what is running: it is read of what is no longer shown. What is wanted next is read as it is asked for then. */
  abandon(): void {
    for (const controller of this.#running.values()) controller.abort();
    this.#running.clear();
  }

  /** Forgets all results, and cancels what is running: the scene that they were meant for is gone. */
  forget(): void {
    this.abandon();
    this.#settled.clear();
    this.#failed.clear();
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
  }

  /** Starts the failed jobs again that are still wanted. */
  retry(): void {
    for (const key of this.#failed) this.#settled.delete(key);
    this.#failed.clear();
    this.#fill();
  }

  #retryLater(): void {
    this.#retryTimer ??= setTimeout(() => {
      this.#retryTimer = undefined;
      this.#retryMs = Math.min(LAST_RETRY_MS, this.#retryMs * 2);
      this.retry();
    }, this.#retryMs);
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
      this.#retryMs = FIRST_RETRY_MS;
      this.#listener.onResult(job.key, result);
    } catch (error) {
      if (controller.signal.aborted || isAbort(error)) return;
      this.#settled.add(job.key);
      this.#failed.add(job.key);
      this.#listener.onFailure(job.key, error);
      if (this.#listener.mayPass?.(error)) this.#retryLater();
    } finally {
      if (this.#running.get(job.key) === controller) this.#running.delete(job.key);
      this.#fill();
    }
  }
}
