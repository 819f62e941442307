import type { Level } from "./cellLevels";

/** Finer cells are drawn once those that are drawn are so many halvings larger than a pixel; coarser ones at half a halving. */
const SLACK = 0.8;

/**
 * Chooses at which level matrices are drawn that are seen at some size. What is drawn stays while the camera or the
 * window moves a little: finer cells would have to be read again.
 */
export class SteadyLevels {
  #before = new Map<string, Level>();
  #next = new Map<string, Level>();

  /** `crowding` is how often rows and columns have to be halved until one is a pixel; `finest` is the level that is read. */
  choose(key: string, crowding: Level, finest: number): Level {
    const before = this.#before.get(key);
    const next = {
      rows: choose(crowding.rows, before?.rows, finest),
      columns: choose(crowding.columns, before?.columns, finest),
    };
    this.#next.set(key, next);
    return next;
  }

  /** All that is seen has been chosen: what is not seen any more is forgotten. */
  turn(): void {
    this.#before = this.#next;
    this.#next = new Map();
  }
}

function choose(crowding: number, before: number | undefined, finest: number): number {
  const next = Math.round(crowding);
  const stays = before !== undefined && next < before && before - crowding <= SLACK;
  return Math.max(finest, stays ? before : next);
}
