/** Keeps the most recently used values whose sizes add up to a budget. */
export class ByteLru<Value> {
  readonly #budgetBytes: number;
  readonly #sizeOf: (value: Value) => number;
  readonly #entries = new Map<string, Value>();
  #usedBytes = 0;

  constructor(budgetBytes: number, sizeOf: (value: Value) => number) {
    this.#budgetBytes = budgetBytes;
    this.#sizeOf = sizeOf;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  get(key: string): Value | undefined {
    const value = this.#entries.get(key);
    if (value === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, value);
    return value;
  }

  /** Oldest first; reading so counts as no use. */
  entries(): IterableIterator<[string, Value]> {
    return this.#entries.entries();
  }

  set(key: string, value: Value): void {
    this.delete(key);
    this.#entries.set(key, value);
    this.#usedBytes += this.#sizeOf(value);
    for (const oldest of this.#entries.keys()) {
      if (this.#usedBytes <= this.#budgetBytes || oldest === key) break;
      this.delete(oldest);
    }
  }

  delete(key: string): void {
    const value = this.#entries.get(key);
    if (value === undefined) return;
    this.#entries.delete(key);
    this.#usedBytes -= this.#sizeOf(value);
  }
}
