import type { Matrix } from "../layout/Matrix";
import { isTokenAxis } from "../protocol/isTokenAxis";
import { ByteLru } from "./ByteLru";
import {
  bytesOf,
  closed,
  goOn,
  type HeldRows,
  holdRows,
  type Rows,
  rowOf,
  rowsOf,
  valueIn,
} from "./HeldRows";
import { LiveRows } from "./LiveRows";

interface Held {
  axes: string[];
  level: number;
  /** Oldest first: where two hold the same row, the newer counts. */
  parts: HeldRows[];
}

/** A matrix of at most this many cells a side has no further level; as `tiles/level.py`. */
const SMALLEST_SIDE = 64;

/**
 * The rows that the page holds of the recording on screen. They came from its store, over the live socket, or from an
 * earlier recording that begins with the same tokens. No row is held twice, and the missing ones are known, so that no
 * row has to be read twice.
 *
 * Rows run along the last axis but one (`pos` or `query`). Where the last axis is `key`, a row has as many keys as were
 * recorded when it was read.
 */
export class RecordedRows {
  readonly #held: ByteLru<Held>;
  readonly #live: LiveRows;
  #traceId = "";
  /** Earlier recordings that begin like the one on screen, and how many positions they share with it. */
  #kin = new Map<string, number>();

  /** `liveBytes` is for what comes while a text is written, which goes into the picture besides. */
  constructor(budgetBytes: number, liveBytes: number) {
    this.#live = new LiveRows(liveBytes);
    this.#held = new ByteLru(budgetBytes, ({ parts }) => parts.reduce((sum, part) => sum + bytesOf(part), 0));
  }

  /** Of memory, with the room that is kept for the next rows. */
  get bytes(): number {
    return this.#held.usedBytes + this.#live.bytes;
  }

  /** Another recording is on screen; its first `kept` positions are those of the last one. */
  turnTo(traceId: string, kept: number): void {
    const kin = [...this.#kin, [this.#traceId, kept] as const];
    this.#kin = new Map(kin.map(([id, count]): [string, number] => [id, Math.min(count, kept)]));
    this.#traceId = traceId;
    for (const [key, held] of [...this.#held.entries()]) {
      const parts = held.parts.flatMap((part) => cut(part, held.level, kept)).map(closed);
      if (parts.length > 0) this.#held.set(key, { ...held, parts });
      else this.#held.delete(key);
    }
    this.#live.change((part) => cut(part, 0, kept).map(closed));
  }

  /** Drops everything: the server has replaced every row of the recording on screen, so none can be shared either. */
  forget(): void {
    this.#kin.clear();
    for (const [key] of [...this.#held.entries()]) this.#held.delete(key);
    this.#live.change(() => []);
  }

  /**
   * Takes in those of the rows that belong to the recording on screen, whichever recording they were read from. They are
   * copied out of what they came in: a few rows must not hold on to the live frame, or the answer, of hundreds of tensors.
   * `isLive`: they came by themselves, at level 0.
   */
  add(traceId: string, name: string, axes: string[], level: number, rows: Rows, isLive = false): void {
    const shared = traceId === this.#traceId ? Number.POSITIVE_INFINITY : (this.#kin.get(traceId) ?? 0);
    const [own] = cut(rows, level, shared);
    if (!own || !hasRows(axes)) return;
    const key = keyOf(name, level);
    if (isLive) {
      this.#live.add(key, axes, own);
      return;
    }
    const before = this.#held.get(key)?.parts ?? [];
    const last = before.at(-1);
    const grown = last && level === 0 ? goOn(last, own) : null;
    const parts = grown
      ? [...before.slice(0, -1), grown]
      : [...before, holdRows(own, level === 0, isTokenAxis(axes.at(-1)))];
    this.#held.set(key, { axes, level, parts });
  }

  /** The whole tensor, or null if a row of it is missing. A `level` past the last one stands for the last one. */
  find(traceId: string, name: string, level: number, positions: number): Matrix | null {
    const held = this.#find(traceId, name, level, positions);
    if (!held || gapsOf(held, positions).length > 0) return null;
    const whole = join(held, positions);
    // Keeps it in one piece, so that the next call returns the same memory.
    const rest = held.parts.filter((part) => part.stop > whole.stop);
    this.#held.set(keyOf(name, held.level), { ...held, parts: [whole, ...rest] });
    if (held.level === 0) this.#live.delete(keyOf(name, 0));
    return { address: name, axes: held.axes, shape: whole.shape, level: held.level, values: whole.values };
  }

  /** The level and the positions that are missing of a tensor; null where nothing of it is held. */
  gaps(
    traceId: string,
    name: string,
    level: number,
    positions: number,
  ): { level: number; axes: string[]; rowCells: number; gaps: [number, number][] } | null {
    const held = this.#find(traceId, name, level, positions);
    if (!held) return null;
    const factor = 2 ** held.level;
    const [{ shape }] = held.parts as [Rows];
    const rowCells = shape.reduce(
      (product, size, axis) => product * (axis === shape.length - 2 ? 1 : size),
      1,
    );
    const gaps = gapsOf(held, positions).map(([start, stop]): [number, number] => [
      start * factor,
      Math.min(stop * factor, positions),
    ]);
    return { level: held.level, axes: held.axes, rowCells, gaps };
  }

  /** Rows of level 0 from a position on, oldest first. */
  after(name: string, position: number): Rows[] {
    return (this.#get(name, 0)?.parts ?? []).filter((part) => part.stop > position).map(rowsOf);
  }

  /** A cell's value, if its row is here. */
  valueAt(name: string, index: readonly number[]): number | null {
    const row = index.at(-2) ?? 0;
    const part = this.#get(name, 0)?.parts.findLast(({ start, stop }) => row >= start && row < stop);
    return part ? valueIn(part, index) : null;
  }

  #find(traceId: string, name: string, level: number, positions: number): Held | null {
    if (traceId !== this.#traceId) return null;
    // Any level that is held tells how many levels there are.
    for (let known = 0; known <= level; known++) {
      const held = this.#get(name, known);
      if (held) return this.#get(name, Math.min(level, lastLevel(held, positions)));
    }
    return null;
  }

  /** What was read at a level, with what came live. */
  #get(name: string, level: number): Held | null {
    const held = this.#held.get(keyOf(name, level));
    const live = level === 0 ? this.#live.get(keyOf(name, 0)) : undefined;
    if (!live) return held ?? null;
    return { axes: live.axes, level, parts: [...(held?.parts ?? []), ...live.parts] };
  }
}

const keyOf = (name: string, level: number) => `${level} ${name}`;

function hasRows(axes: string[]): boolean {
  return axes.at(-2) === "pos" || axes.at(-2) === "query";
}

/** The rows that remain valid when only the first `count` positions do; a pool that reaches past them does not. */
function cut<Some extends Rows>(rows: Some, level: number, count: number): Some[] {
  if (count >= rows.positions) return [rows];
  const stop = Math.min(rows.stop, Math.floor(count / 2 ** level));
  return stop > rows.start ? [{ ...rows, stop, positions: Math.min(rows.positions, count) }] : [];
}

/** Up to which row of its level a part is valid at a number of positions: a pool that has grown since is not. */
function heldStop(part: Rows, level: number, positions: number): number {
  return part.positions >= positions
    ? part.stop
    : Math.min(part.stop, Math.floor(part.positions / 2 ** level));
}

/** Runs of rows that no part holds, in rows of the level. */
function gapsOf({ parts, level }: Held, positions: number): [number, number][] {
  const rows = Math.ceil(positions / 2 ** level);
  const gaps: [number, number][] = [];
  let reached = 0;
  for (const part of parts.toSorted((one, other) => one.start - other.start)) {
    if (part.start >= rows) break;
    if (part.start > reached) gaps.push([reached, part.start]);
    reached = Math.max(reached, heldStop(part, level, positions));
  }
  if (reached < rows) gaps.push([reached, rows]);
  return gaps;
}

/** The last level of a tensor at a number of positions: the first to fit `SMALLEST_SIDE` on both of its last axes. */
function lastLevel({ axes, level: known, parts }: Held, positions: number): number {
  const [{ shape }] = parts as [Rows];
  // The size before pooling is not known exactly. The largest it can have been needs just as many halvings.
  const sizes = shape.map((size, axis) => (isTokenAxis(axes[axis]) ? positions : size * 2 ** known));
  return lastLevelOf(sizes);
}

/** The last level of a tensor of these sizes: the first to fit `SMALLEST_SIDE` on both of its last axes. */
export function lastLevelOf(shape: readonly number[]): number {
  let side = Math.max(...shape.slice(-2));
  let level = 0;
  for (; side > SMALLEST_SIDE; level++) side = Math.ceil(side / 2);
  return level;
}

/** Joins all parts into one. */
function join(held: Held, positions: number): HeldRows {
  const { axes, level, parts } = held;
  const [first] = parts as [Rows];
  const rows = Math.ceil(positions / 2 ** level);
  const growsAcross = isTokenAxis(axes.at(-1));
  const width = growsAcross ? rows : (first.shape.at(-1) ?? 1);
  const shape = [...first.shape.slice(0, -2), rows, width];
  if (parts.length === 1 && `${first.shape}` === `${shape}` && first.start === 0)
    return { ...first, positions };
  const leads = shape.slice(0, -2).reduce((product, size) => product * size, 1);
  const values = new Float32Array(leads * rows * width);
  // Keys after a query are masked; the value that marks a masked cell is taken from the parts.
  if (growsAcross) values.fill(maskOf(parts));
  for (const part of parts) {
    const stop = Math.min(heldStop(part, level, positions), rows);
    for (let lead = 0; lead < leads; lead++) {
      for (let row = part.start; row < stop; row++) {
        values.set(rowOf(part, lead, row).subarray(0, width), (lead * rows + row) * width);
      }
    }
  }
  return { start: 0, stop: rows, shape, values, positions };
}

/** The value of a masked cell: that of the first query at the last key, which it cannot see. */
function maskOf(parts: readonly HeldRows[]): number {
  const whole = parts.find(({ start, shape }) => start === 0 && (shape.at(-1) ?? 0) > 1);
  const seen = whole?.values[(whole.shape.at(-1) ?? 1) - 1];
  return seen ?? parts.find(({ block }) => block?.masked)?.block?.masked?.value ?? Number.NEGATIVE_INFINITY;
}
