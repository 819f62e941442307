/** Collects what arrives in quick succession and hands it on together, in order, after a short wait. */
export class ArrivalBatch<Item> {
  readonly #waitMs: number;
  readonly #handle: (items: Item[]) => void;
  #items: Item[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(waitMs: number, handle: (items: Item[]) => void) {
    this.#waitMs = waitMs;
    this.#handle = handle;
  }

  add(item: Item): void {
    this.#items.push(item);
    this.#timer ??= setTimeout(() => this.flush(), this.#waitMs);
  }

  /** Hands on at once what is waiting. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const items = this.#items;
    this.#items = [];
    if (items.length > 0) this.#handle(items);
  }
}
