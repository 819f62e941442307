import { hasLeads } from "../layout/leads";
import type { Matrix } from "../layout/Matrix";
import { isTokenAxis } from "../protocol/isTokenAxis";
import { isWithin, joinLevels, type Level } from "../scene/cellLevels";
import type { MatrixName } from "../scene/ValueStore";
import type { Wanted } from "../scene/Wanted";
import { RowSpans } from "./RowSpans";

/** What the scene has of one matrix. */
interface Held {
  /** As it was read, and as it is drawn. */
  level: number;
  shown: Level;
  rows: RowSpans;
}

/**
 * Which rows of which matrices of the recording the scene has, whatever else of them the page holds: while a text grows its
 * rows go into the picture, so nothing of what is drawn has to be kept twice, or read again.
 */
export class Pictured {
  readonly #held = new Map<string, Map<number, Held>>();
  /** How coarse each matrix is drawn that the camera sees. */
  #shown = new Map<string, Level | undefined>();

  /** How often a tensor, or one matrix of it, was taken in. */
  readonly #times = new Map<string, number>();

  clear(): void {
    this.#held.clear();
  }

  /** Another number each time that a tensor has come: what it is asked for again is another question then. */
  times(name: string): number {
    return this.#times.get(name) ?? 0;
  }

  /** The scene draws these from now on: pooled where they are seen from farther away, and it may drop all others. */
  want(wanted: readonly Wanted[]): void {
    this.#shown = new Map(wanted.filter(({ part }) => !part).map((one) => [keyOf(one), one.shown]));
    for (const [name, leads] of this.#held) {
      for (const [lead, held] of leads) {
        const key = [keyOf({ name, lead }), keyOf({ name })].find((each) => this.#shown.has(each));
        const shown = key === undefined ? undefined : this.#shown.get(key);
        if (key === undefined) leads.delete(lead);
        else if (shown && isWithin(held.shown, shown)) held.shown = shown;
      }
      if (leads.size === 0) this.#held.delete(name);
    }
  }

  /** The scene took in a whole matrix, read when `positions` were recorded. */
  take({ address: name, axes, shape, level, lead }: Matrix, positions: number): void {
    // Of what does not grow nothing has to be remembered.
    if (!isTokenAxis(axes.at(-2))) return;
    this.#times.set(name, this.times(name) + 1);
    const leads = this.#held.get(name) ?? new Map<number, Held>();
    this.#held.set(name, leads);
    const own = { rows: level, columns: level };
    const first = hasLeads(axes) ? (lead ?? 0) : -1;
    const count = hasLeads(axes) && lead === undefined ? (shape[0] ?? 1) : 1;
    // The store may have grown since it was asked; of pools one cannot tell.
    const stop = level === 0 ? (shape.at(-2) ?? 0) : positions;
    for (let at = first; at < first + count; at++) {
      const rows = new RowSpans();
      rows.add(0, stop);
      const shown = this.#shown.get(keyOf({ name, lead: at })) ?? this.#shown.get(keyOf({ name }));
      leads.set(at, { level, shown: shown ? joinLevels(own, shown) : own, rows });
    }
  }

  /** Exact rows went into the picture: of all matrices of a tensor that are there, or of one. */
  add(name: string, start: number, stop: number, lead?: number): void {
    for (const [own, { rows }] of this.#held.get(name) ?? [])
      if (lead === undefined || own === lead) rows.add(start, stop);
  }

  /**
   * Only the first `count` positions are still those of the recording. `isCut`: the scene has let go of what followed, and
   * so of each pool that reached beyond them.
   */
  keep(count: number, isCut: boolean): void {
    for (const leads of this.#held.values())
      for (const { shown, rows } of leads.values()) {
        const pool = 2 ** shown.rows;
        rows.keep(isCut ? count - (count % pool) : count);
      }
  }

  /**
   * Whether a matrix is drawn as it is wanted, apart from rows that may be missing; where all of a tensor is wanted, whether
   * all of its `count` matrices are.
   */
  has({ name, lead, level, shown, part }: Wanted, count = 1): boolean {
    const held = this.#held.get(name);
    const own = lead === undefined ? [...(held?.values() ?? [])] : [held?.get(lead)];
    if (part || own.length < (lead === undefined ? count : 1)) return false;
    const coarsest = shown ?? { rows: level, columns: level };
    return own.every((one) => one && one.level <= level && isWithin(one.shown, coarsest));
  }

  /** Rows that some of the drawn matrices of a tensor lack: of so many positions, and of those before others that came. */
  gaps(name: string, positions: number): [start: number, stop: number][] {
    const missing = new RowSpans();
    for (const { rows } of this.#held.get(name)?.values() ?? [])
      for (const [start, stop] of rows.gaps(Math.max(positions, rows.end))) missing.add(start, stop);
    return missing.all;
  }
}

/** A tensor of one matrix has it under -1. */
const keyOf = ({ name, lead = -1 }: MatrixName) => `${name} ${lead}`;
