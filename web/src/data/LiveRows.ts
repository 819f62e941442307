import { isTokenAxis } from "../protocol/isTokenAxis";
import { bytesOf, goOn, type HeldRows, holdRows, type Rows } from "./HeldRows";

interface Live {
  axes: string[];
  parts: HeldRows[];
}

/** Once there is no room, rows of so many positions go together. */
const STEP = 8;

/**
 * The exact rows that came while a text was written, of its last positions: as many as a budget allows, of all tensors the
 * same ones. The picture has those before them at its own level, and the server has them all.
 */
export class LiveRows {
  readonly #budgetBytes: number;
  readonly #held = new Map<string, Live>();
  #bytes = 0;

  constructor(budgetBytes: number) {
    this.#budgetBytes = budgetBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(key: string): Live | undefined {
    return this.#held.get(key);
  }

  add(key: string, axes: string[], rows: Rows): void {
    const before = this.#held.get(key)?.parts ?? [];
    const last = before.at(-1);
    const grown = last ? goOn(last, rows) : null;
    const parts = grown
      ? [...before.slice(0, -1), grown]
      : [...before, holdRows(rows, true, isTokenAxis(axes.at(-1)))];
    this.#set(key, { axes, parts });
    if (this.#bytes > this.#budgetBytes) this.#makeRoom();
  }

  delete(key: string): void {
    this.#set(key, null);
  }

  /** Puts other parts in the place of those of each tensor. */
  change(keep: (part: HeldRows) => HeldRows[]): void {
    for (const [key, { axes, parts }] of [...this.#held])
      this.#set(key, { axes, parts: parts.flatMap(keep) });
  }

  #makeRoom(): void {
    const all = [...this.#held.values()].flatMap(({ parts }) => parts);
    let before = Math.min(...all.map(({ start }) => start));
    while (this.#bytes > this.#budgetBytes * (7 / 8) && this.#held.size > 0) {
      before += STEP;
      this.change((part) => (part.stop <= before ? [] : [part]));
    }
  }

  #set(key: string, live: Live | null): void {
    const sizeOf = (parts: readonly HeldRows[]) => parts.reduce((sum, part) => sum + bytesOf(part), 0);
    this.#bytes -= sizeOf(this.#held.get(key)?.parts ?? []);
    if (live && live.parts.length > 0) {
      this.#held.set(key, live);
      this.#bytes += sizeOf(live.parts);
    } else this.#held.delete(key);
  }
}
