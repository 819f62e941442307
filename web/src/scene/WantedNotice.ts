import type { Wanted } from "./Wanted";

/** While the camera moves, the set of wanted tensors is told at most this often. */
const INTERVAL_MS = 120;

/** Tells which tensors the camera can see: when the set changes, and not with every frame. */
export class WantedNotice {
  private last = "";
  private lastAt = Number.NEGATIVE_INFINITY;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly read: () => Wanted[];
  private readonly tell: (wanted: Wanted[]) => void;

  constructor(read: () => Wanted[], tell: (wanted: Wanted[]) => void) {
    this.read = read;
    this.tell = tell;
  }

  /** Tells again even if the set is the same: the values behind it are new. */
  forget(): void {
    this.last = "";
  }

  update(now: number): void {
    clearTimeout(this.timer);
    const wait = INTERVAL_MS - (now - this.lastAt);
    if (wait > 0) {
      this.timer = setTimeout(() => this.update(performance.now()), wait);
      return;
    }
    this.lastAt = now;
    const wanted = this.read();
    const key = wanted
      .map(
        ({ name, level, lead, part, shown }) =>
          `${name}@${level}/${lead}/${part?.row}/${part?.column}/${shown?.rows}/${shown?.columns}`,
      )
      .join();
    if (key === this.last) return;
    this.last = key;
    this.tell(wanted);
  }

  dispose(): void {
    clearTimeout(this.timer);
  }
}
