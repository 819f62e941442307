import { isMasked, isPattern } from "../layout/isMasked";
import { isTokenAxis } from "../protocol/isTokenAxis";
import { type Atlas, PAGE_SIDE } from "./Atlas";
import { EXACT, isSameLevel, keyOfLevel, type Level, larger, largerTexel, levelOfKey } from "./cellLevels";
import { numberIn, STATES, texelOf } from "./cellStates";
import { entryOf, type PageTable, type TableArea } from "./PageTable";

/** One matrix of a tensor: its last two axes at one index of those before. */
export interface SheetForm {
  /** Of a vector there is one row; a convolution's kernels are the rows of one matrix. */
  isVector: boolean;
  isMerged: boolean;
  /** Rows are queries and columns keys. */
  isPattern: boolean;
  /** Whether one index of an axis before the last two chooses the matrix. */
  hasLead: boolean;
  rowsGrow: boolean;
  columnsGrow: boolean;
}

export function formOf(axes: readonly string[], shape: readonly number[]): SheetForm {
  const rank = axes.length;
  const leads = shape.slice(0, -2).reduce((product, size) => product * size, 1);
  const isMerged = leads > 1 && shape.at(-2) === 1 && !isTokenAxis(axes.at(-2));
  return {
    isVector: rank === 1,
    isMerged,
    isPattern: isPattern(axes),
    hasLead: rank > 2 && !isMerged,
    rowsGrow: rank > 1 && isTokenAxis(axes.at(-2)),
    columnsGrow: isTokenAxis(axes.at(-1)),
  };
}

/** Where a cell stands: which matrix of the tensor, and where in it. */
export function placeInSheet(
  form: SheetForm,
  index: readonly number[],
): { lead: number; row: number; column: number } {
  const column = index.at(-1) ?? 0;
  if (form.isVector) return { lead: 0, row: 0, column };
  if (form.isMerged) return { lead: 0, row: index[0] ?? 0, column };
  return { lead: form.hasLead ? (index[0] ?? 0) : 0, row: index.at(-2) ?? 0, column };
}

/** A rectangle of a matrix at a level; values row after row. */
export interface Patch {
  level: Level;
  row: number;
  column: number;
  rows: number;
  columns: number;
  values: Float32Array;
}

/** What the atlas holds of one matrix: pages of one or several levels, and the entries that lead to them. */
export class Sheet {
  /** Recorded cells at level 0. */
  rows = 0;
  columns = 0;
  /** The finest level held on each axis, at which the table has an entry a page. */
  base: Level = EXACT;
  area: TableArea | null = null;
  readonly form: SheetForm;
  private readonly pages = new Map<number, Map<number, number>>();
  private readonly atlas: Atlas;

  constructor(form: SheetForm, atlas: Atlas) {
    this.form = form;
    this.atlas = atlas;
  }

  get isEmpty(): boolean {
    return this.pages.size === 0;
  }

  /** The levels held. */
  get levels(): Level[] {
    return [...this.pages.keys()].map(levelOfKey);
  }

  /** The finest halving held on each axis. */
  get finest(): Level {
    const { levels } = this;
    return {
      rows: Math.min(...levels.map(({ rows }) => rows)),
      columns: Math.min(...levels.map(({ columns }) => columns)),
    };
  }

  /** A level of the store, which halves both axes alike; rows of a vector or of kernels are not pooled. */
  levelOf(level: number): Level {
    return { rows: this.form.isVector || this.form.isMerged ? 0 : level, columns: level };
  }

  /**
   * Copies a patch in; `take` gives an empty page, or null where there is no room. Says whether pages were added.
   * `goesOn`: it continues what is here; columns that nobody looks at are not begun.
   */
  write(patch: Patch, take: () => number | null, goesOn = false): boolean {
    const { level, row, column, rows, columns, values } = patch;
    const held = this.pages.get(keyOfLevel(level)) ?? new Map<number, number>();
    const begins = held.size === 0;
    let isNew = false;
    for (let down = Math.floor(row / PAGE_SIDE); down * PAGE_SIDE < row + rows; down++) {
      for (let across = Math.floor(column / PAGE_SIDE); across * PAGE_SIDE < column + columns; across++) {
        let page = held.get(keyOf(down, across));
        if (page === undefined) {
          if (goesOn && !begins && !this.continues(held, down, across)) continue;
          if (this.form.isPattern && across > down && isAllMasked(patch, down, across)) continue;
          const taken = take();
          if (taken === null) continue;
          page = taken;
          held.set(keyOf(down, across), page);
          isNew = true;
          if (this.form.isPattern) this.mask(page, down, across);
        }
        const [left, top] = [Math.max(column, across * PAGE_SIDE), Math.max(row, down * PAGE_SIDE)];
        const right = Math.min(column + columns, (across + 1) * PAGE_SIDE);
        const bottom = Math.min(row + rows, (down + 1) * PAGE_SIDE);
        for (let at = top; at < bottom; at++) {
          const target = this.atlas.row(page, at - down * PAGE_SIDE);
          const source = (at - row) * columns - column;
          for (let x = left; x < right; x++)
            target[x - across * PAGE_SIDE] = this.texel(values[source + x] as number, at, x);
        }
        const [pageLeft, pageTop] = [across * PAGE_SIDE, down * PAGE_SIDE];
        this.atlas.change(page, left - pageLeft, top - pageTop, right - pageLeft, bottom - pageTop);
      }
    }
    if (isNew) this.pages.set(keyOfLevel(level), held);
    return isNew;
  }

  /** New exact rows change the pools of a level that they are in. */
  fold({ row, column, rows, columns, values }: Patch, level: Level, take: () => number | null): boolean {
    const [first, last] = [row >> level.rows, (row + rows - 1) >> level.rows];
    const [left, right] = [column >> level.columns, (column + columns - 1) >> level.columns];
    const width = right - left + 1;
    const pools = new Float32Array((last - first + 1) * width);
    for (let down = first; down <= last; down++)
      for (let across = left; across <= right; across++)
        pools[(down - first) * width + across - left] =
          this.valueAt(level, down, across) ?? Number.NEGATIVE_INFINITY;
    for (let at = 0; at < rows; at++) {
      const target = (((row + at) >> level.rows) - first) * width - left;
      for (let x = 0; x < columns; x++) {
        const pool = target + ((column + x) >> level.columns);
        pools[pool] = larger(pools[pool] as number, values[at * columns + x] as number);
      }
    }
    return this.write(
      { level, row: first, column: left, rows: last - first + 1, columns: width, values: pools },
      take,
    );
  }

  /** Pools the pages of its only level to a coarser one, and lets go of them. False: it holds several, or that one. */
  coarsen(to: Level, take: () => number | null): boolean {
    const [from, ...others] = this.levels;
    if (!from || others.length > 0 || isSameLevel(from, to)) return false;
    const by: Level = { rows: to.rows - from.rows, columns: to.columns - from.columns };
    const pooled = new Map<number, Float32Array>();
    for (const [key, page] of this.pages.get(keyOfLevel(from)) ?? []) {
      const [down, across] = placeOfKey(key);
      const [top, left] = [(down * PAGE_SIDE) >> by.rows, (across * PAGE_SIDE) >> by.columns];
      const target = keyOf(Math.floor(top / PAGE_SIDE), Math.floor(left / PAGE_SIDE));
      const texels = pooled.get(target) ?? this.emptyPage(target);
      pooled.set(target, texels);
      for (let row = 0; row < PAGE_SIDE; row++) {
        const source = this.atlas.row(page, row);
        const into = ((top % PAGE_SIDE) + (row >> by.rows)) * PAGE_SIDE + (left % PAGE_SIDE);
        for (let x = 0; x < PAGE_SIDE; x++) {
          const pool = into + (x >> by.columns);
          texels[pool] = largerTexel(texels[pool] as number, source[x] as number);
        }
      }
    }
    this.drop();
    const held = new Map<number, number>();
    for (const [key, texels] of pooled) {
      const page = take();
      if (page === null) continue;
      held.set(key, page);
      for (let row = 0; row < PAGE_SIDE; row++)
        this.atlas.row(page, row).set(texels.subarray(row * PAGE_SIDE, (row + 1) * PAGE_SIDE));
    }
    if (held.size > 0) this.pages.set(keyOfLevel(to), held);
    return true;
  }

  /** The texel of a level, whatever it stands for; absent where no page is. */
  texelAt(level: Level, row: number, column: number): number {
    const page = this.pages
      .get(keyOfLevel(level))
      ?.get(keyOf(Math.floor(row / PAGE_SIDE), Math.floor(column / PAGE_SIDE)));
    if (page !== undefined) return this.atlas.read(page, column % PAGE_SIDE, row % PAGE_SIDE);
    return this.form.isPattern && column > row ? STATES.masked : STATES.absent;
  }

  valueAt(level: Level, row: number, column: number): number | null {
    return numberIn(this.texelAt(level, row, column));
  }

  /** The finest pool that a cell of level 0 is in. */
  poolAt(row: number, column: number): { level: Level; value: number | null } | null {
    for (const level of this.levels.sort(byCells)) {
      const texel = this.texelAt(level, row >> level.rows, column >> level.columns);
      if (texel !== STATES.absent) return { level, value: numberIn(texel) };
    }
    return null;
  }

  /** All texels of its finest level, a row of a page at a time. */
  *texels(): Generator<Float32Array> {
    const [finest] = this.levels.sort(byCells);
    for (const page of (finest && this.pages.get(keyOfLevel(finest))?.values()) ?? [])
      for (let row = 0; row < PAGE_SIDE; row++) yield this.atlas.row(page, row);
  }

  /** Lets go of the pages of every other level. */
  keepLevel(level: Level): boolean {
    const others = this.levels.filter((each) => !isSameLevel(each, level));
    for (const each of others) this.dropLevel(each);
    return others.length > 0;
  }

  /** Only the first `count` tokens still hold; of a pool that reaches beyond them, nothing. */
  keepTokens(count: number): void {
    for (const [levelKey, held] of [...this.pages]) {
      const level = levelOfKey(levelKey);
      const [rows, columns] = [count >> level.rows, count >> level.columns];
      for (const [key, page] of [...held]) {
        const [down, across] = placeOfKey(key);
        const rowsLeft = this.form.rowsGrow ? rows - down * PAGE_SIDE : PAGE_SIDE;
        const columnsLeft = this.form.columnsGrow ? columns - across * PAGE_SIDE : PAGE_SIDE;
        if (rowsLeft <= 0 || columnsLeft <= 0) {
          held.delete(key);
          this.atlas.give(page);
          continue;
        }
        if (rowsLeft >= PAGE_SIDE && columnsLeft >= PAGE_SIDE) continue;
        for (let row = 0; row < PAGE_SIDE; row++)
          this.atlas
            .row(page, row)
            .fill(STATES.absent, row < rowsLeft ? Math.min(columnsLeft, PAGE_SIDE) : 0);
        this.atlas.change(page, 0, 0, PAGE_SIDE, PAGE_SIDE);
      }
      if (held.size === 0) this.pages.delete(levelKey);
    }
    if (this.form.rowsGrow) this.rows = Math.min(this.rows, count);
    if (this.form.columnsGrow) this.columns = Math.min(this.columns, count);
  }

  /** Writes the entries, finer levels over coarser ones. `this.area` has to be large enough: see `tableSize`. */
  list(table: PageTable): void {
    const { area } = this;
    if (!area) return;
    for (let row = 0; row < area.rows; row++)
      for (let column = 0; column < area.columns; column++) table.set(area, column, row, 0);
    for (const level of this.levels.sort((one, other) => byCells(other, one))) {
      const [across, down] = [2 ** (level.columns - this.base.columns), 2 ** (level.rows - this.base.rows)];
      for (const [key, page] of this.pages.get(keyOfLevel(level)) ?? []) {
        const [pageRow, pageColumn] = placeOfKey(key);
        const entry = entryOf(page, level.columns, level.rows);
        for (let row = pageRow * down; row < Math.min(area.rows, (pageRow + 1) * down); row++)
          for (
            let column = pageColumn * across;
            column < Math.min(area.columns, (pageColumn + 1) * across);
            column++
          )
            table.set(area, column, row, entry);
      }
    }
  }

  /** How many entries the table needs across and down. */
  tableSize(): { columns: number; rows: number } {
    const pagesOf = (cells: number, level: number) =>
      Math.max(1, Math.ceil(Math.ceil(cells / 2 ** level) / PAGE_SIDE));
    return {
      columns: pagesOf(this.columns, this.base.columns),
      rows: pagesOf(this.rows, this.base.rows),
    };
  }

  drop(): void {
    for (const level of this.levels) this.dropLevel(level);
  }

  private dropLevel(level: Level): void {
    for (const page of this.pages.get(keyOfLevel(level))?.values() ?? []) this.atlas.give(page);
    this.pages.delete(keyOfLevel(level));
  }

  /** The texels of a page that nothing was written to. */
  private emptyPage(key: number): Float32Array {
    const texels = new Float32Array(PAGE_SIDE ** 2).fill(STATES.absent);
    if (this.form.isPattern) {
      const [down, across] = placeOfKey(key);
      maskRows(down, across, (row, from) =>
        texels.fill(STATES.masked, row * PAGE_SIDE + from, (row + 1) * PAGE_SIDE),
      );
    }
    return texels;
  }

  /** Whether a page has one above it, or before it where columns grow too. */
  private continues(held: ReadonlyMap<number, number>, down: number, across: number): boolean {
    if (held.has(keyOf(down - 1, across))) return true;
    return this.form.columnsGrow && held.has(keyOf(down, across - 1));
  }

  /** What comes later is masked, whether or not a row that says so has come. */
  private mask(page: number, down: number, across: number): void {
    maskRows(down, across, (row, from) => this.atlas.row(page, row).fill(STATES.masked, from));
  }

  private texel(value: number, row: number, column: number): number {
    return this.form.isPattern && isMasked(value, row, column) ? STATES.masked : texelOf(value);
  }
}

/** Each row of a page in which some columns come after their row, and from which column on. */
function maskRows(down: number, across: number, fill: (row: number, from: number) => void): void {
  for (let row = 0; row < PAGE_SIDE; row++) {
    const first = (down - across) * PAGE_SIDE + row + 1;
    if (first < PAGE_SIDE) fill(row, Math.max(0, first));
  }
}

/** The finer ones first, by how many cells are in one of theirs. */
function byCells(one: Level, other: Level): number {
  return one.rows + one.columns - other.rows - other.columns;
}

/** Whether a page above the diagonal has nothing to show: without a page, what comes later is masked all the same. */
function isAllMasked({ row, column, rows, columns, values }: Patch, down: number, across: number): boolean {
  const [left, right] = [
    Math.max(column, across * PAGE_SIDE),
    Math.min(column + columns, (across + 1) * PAGE_SIDE),
  ];
  for (let at = Math.max(row, down * PAGE_SIDE); at < Math.min(row + rows, (down + 1) * PAGE_SIDE); at++) {
    const source = (at - row) * columns - column;
    for (let x = left; x < right; x++) if (!isMasked(values[source + x] as number, at, x)) return false;
  }
  return true;
}

const KEY_ROWS = 2 ** 20;
const keyOf = (down: number, across: number) => across * KEY_ROWS + down;
const placeOfKey = (key: number): [down: number, across: number] => [
  key % KEY_ROWS,
  Math.floor(key / KEY_ROWS),
];
