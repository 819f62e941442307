import { valueAtIndex } from "./valueAtIndex";

/** Rows `start` to `stop` of a tensor at one level, as read when `positions` were recorded. */
export interface Rows {
  start: number;
  stop: number;
  shape: number[];
  values: Float32Array;
  positions: number;
}

/** Rows in memory of their own: as they were read, or a block that those after them go on in. */
export interface HeldRows extends Rows {
  block?: Block;
}

interface Block {
  /** How many more cells fit behind `values`. */
  room: number;
  /** A query's row ends with its own key, since those after it are masked; null: all rows are equally wide. */
  masked: { value: number | null } | null;
}

/** A block has room for so many rows, or for fewer of a wide tensor: what is left free in hundreds of them must be little. */
const [BLOCK_ROWS, BLOCK_CELLS] = [8, 1 << 10];

/** Copies rows into memory of their own. `mayGrow`: others will come after them, one by one. */
export function holdRows(rows: Rows, mayGrow: boolean, growsAcross: boolean): HeldRows {
  const { start, stop, shape, values } = rows;
  const width = shape.at(-1) ?? 1;
  const isSingle = shape.slice(0, -2).every((size) => size === 1);
  // What begins the text stays as it is: it is asked for whole, and tells what a masked cell looks like.
  if (!mayGrow || !isSingle || start === 0 || (growsAcross && maskIn(rows) === undefined)) {
    return { ...rows, values: values.byteLength < values.buffer.byteLength ? values.slice() : values };
  }
  const count = Math.max(stop - start, Math.min(BLOCK_ROWS, Math.floor(BLOCK_CELLS / width)));
  const cells = growsAcross ? cellsUntil(start + count) - cellsUntil(start) : count * width;
  const empty = {
    ...rows,
    stop: start,
    values: new Float32Array(cells).subarray(0, 0),
    block: { room: cells, masked: growsAcross ? { value: null } : null },
  };
  return goOn(empty, rows) as HeldRows;
}

/** A part with the rows that follow it; null where they do not fit behind it, or do not follow. */
export function goOn(part: HeldRows, rows: Rows): HeldRows | null {
  const { block } = part;
  const [count, width] = [rows.stop - rows.start, rows.shape.at(-1) ?? 1];
  if (!block || part.stop !== rows.start || !rows.shape.slice(0, -2).every((size) => size === 1)) return null;
  const { masked } = block;
  const mask = masked ? maskIn(rows) : null;
  if (mask === undefined || (!masked && width !== part.shape.at(-1))) return null;
  const before = masked?.value ?? null;
  if (before !== null && mask !== null && !Object.is(before, mask)) return null;
  const added = masked ? cellsUntil(rows.stop) - cellsUntil(rows.start) : count * width;
  if (added > block.room) return null;
  const memory = new Float32Array(part.values.buffer);
  let end = part.values.length;
  for (let row = rows.start; row < rows.stop; row++) {
    const from = (row - rows.start) * width;
    const own = masked ? row + 1 : width;
    memory.set(rows.values.subarray(from, from + own), end);
    end += own;
  }
  return {
    start: part.start,
    stop: rows.stop,
    shape: [...part.shape.slice(0, -2), rows.stop - part.start, width],
    values: memory.subarray(0, end),
    positions: Math.max(part.positions, rows.positions),
    block: { room: block.room - added, masked: masked && { value: before ?? mask } },
  };
}

/** Nothing may follow any more: other rows come where the next ones would have. */
export function closed(part: HeldRows): HeldRows {
  return part.block ? { ...part, block: { ...part.block, room: 0 } } : part;
}

/** A row's cells; of a query in a block, those that it can see. */
export function rowOf(part: HeldRows, lead: number, row: number): Float32Array {
  const { start, shape, values, block } = part;
  const [rows, width] = shape.slice(-2) as [number, number];
  if (block?.masked)
    return values.subarray(cellsUntil(row) - cellsUntil(start), cellsUntil(row + 1) - cellsUntil(start));
  const from = (lead * rows + row - start) * width;
  return values.subarray(from, from + width);
}

/** A cell's value; null outside of the part, and where a query in a block cannot see the key. */
export function valueIn(part: HeldRows, index: readonly number[]): number | null {
  const row = index.at(-2) ?? 0;
  if (part.block) return rowOf(part, 0, row)[index.at(-1) ?? 0] ?? null;
  const rowAxis = part.shape.length - 2;
  const within = part.shape.map((_, axis) => (axis === rowAxis ? row - part.start : (index[axis] ?? 0)));
  return valueAtIndex(part.values, part.shape, within);
}

/** A part as rows that are all equally wide. */
export function rowsOf(part: HeldRows): Rows {
  const { start, stop, positions, block } = part;
  if (!block) return part;
  const width = block.masked ? stop : (part.shape.at(-1) ?? 1);
  const shape = [...part.shape.slice(0, -2), stop - start, width];
  if (!block.masked)
    return { start, stop, positions, shape, values: part.values.subarray(0, (stop - start) * width) };
  const values = new Float32Array((stop - start) * width).fill(
    block.masked.value ?? Number.NEGATIVE_INFINITY,
  );
  for (let row = start; row < stop; row++) values.set(rowOf(part, 0, row), (row - start) * width);
  return { start, stop, positions, shape, values };
}

/** What a part takes, with the room behind it. */
export function bytesOf({ values }: HeldRows): number {
  return values.buffer.byteLength;
}

/** What all keys after their query are, null where there is none; undefined where a model looks at one. */
function maskIn({ start, stop, shape, values }: Rows): number | null | undefined {
  const width = shape.at(-1) ?? 1;
  if (width < stop) return undefined;
  let mask: number | null = null;
  for (let row = start; row < stop; row++) {
    for (const value of values.subarray((row - start) * width + row + 1, (row - start + 1) * width)) {
      if (value !== 0 && !Number.isNaN(value) && value !== Number.NEGATIVE_INFINITY) return undefined;
      if (mask !== null && !Object.is(value, mask)) return undefined;
      mask = value;
    }
  }
  return mask;
}

/** How many cells the rows before this one have, each as many as its place from 1. */
function cellsUntil(row: number): number {
  return (row * (row + 1)) / 2;
}
