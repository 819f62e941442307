import { BEYOND_NUMBERS } from "../layout/Magnitudes";

/** How often the rows and the columns of a matrix were halved, each by itself. */
export interface Level {
  rows: number;
  columns: number;
}

export const EXACT: Level = { rows: 0, columns: 0 };

/** Above every number of halvings. */
const MOST = 32;

export function keyOfLevel({ rows, columns }: Level): number {
  return rows * MOST + columns;
}

export function levelOfKey(key: number): Level {
  return { rows: Math.floor(key / MOST), columns: key % MOST };
}

export function isSameLevel(one: Level, other: Level): boolean {
  return one.rows === other.rows && one.columns === other.columns;
}

/** Whether every cell of `one` lies in a single cell of `other`. */
export function isWithin(one: Level, other: Level): boolean {
  return one.rows <= other.rows && one.columns <= other.columns;
}

/** The finest level that both can be pooled to. */
export function joinLevels(one: Level, other: Level): Level {
  return { rows: Math.max(one.rows, other.rows), columns: Math.max(one.columns, other.columns) };
}

/** What both can be made of; as it comes, where one of them is. */
export function meetLevels(one: Level | undefined, other: Level | undefined): Level | undefined {
  if (!one || !other) return undefined;
  return { rows: Math.min(one.rows, other.rows), columns: Math.min(one.columns, other.columns) };
}

/** As `tiles/level.py`: the value of largest magnitude, the positive one of two; what is not finite counts among its like only. */
export function larger(one: number, other: number): number {
  if (!Number.isFinite(one)) return Number.isFinite(other) ? other : Math.max(one, other);
  if (!Number.isFinite(other)) return one;
  const [first, second] = [Math.abs(one), Math.abs(other)];
  return first === second ? Math.max(one, other) : first > second ? one : other;
}

/** The same of two texels: a number goes before a state, and what is there before what is not. */
export function largerTexel(one: number, other: number): number {
  const [isNumber, isOther] = [one < BEYOND_NUMBERS, other < BEYOND_NUMBERS];
  if (isNumber && isOther) return larger(one, other);
  return isNumber ? one : isOther ? other : Math.max(one, other);
}

/** Rows halved `by.rows` times and columns `by.columns` times; pools at the far edges are smaller. */
export function poolValues(values: Float32Array, columns: number, by: Level): Float32Array {
  if (isSameLevel(by, EXACT)) return values;
  const rows = values.length / columns;
  const across = Math.ceil(columns / 2 ** by.columns);
  const pools = new Float32Array(Math.ceil(rows / 2 ** by.rows) * across);
  for (let row = 0; row < rows; row++) {
    const target = (row >> by.rows) * across;
    const begins = row % 2 ** by.rows === 0;
    for (let column = 0; column < columns; column++) {
      const pool = target + (column >> by.columns);
      const value = values[row * columns + column] as number;
      const isFirst = begins && column % 2 ** by.columns === 0;
      pools[pool] = isFirst ? value : larger(pools[pool] as number, value);
    }
  }
  return pools;
}
