import type { DataArrayTexture, DataTexture, WebGLRenderer } from "three";
import type { Cell } from "../layout/Cell";
import { Magnitudes, type Range, unclipped } from "../layout/Magnitudes";
import type { Matrix } from "../layout/Matrix";
import type { Pool } from "../layout/Pool";
import type { Scaling } from "../layout/Scaling";
import { Atlas } from "./Atlas";
import { EXACT, isSameLevel, isWithin, joinLevels, type Level, poolValues } from "./cellLevels";
import { LeadLists } from "./LeadLists";
import { PageTable } from "./PageTable";
import { formOf, type Patch, placeInSheet, Sheet, type SheetForm } from "./Sheet";

/** A matrix of a tensor, by its index along the leading axis; without one, all of them. */
export interface MatrixName {
  name: string;
  lead?: number | undefined;
  /** How coarse its picture is: a cell is about a pixel. Without it, as it comes. */
  shown?: Level | undefined;
}

/** What is known of a tensor, whichever of its matrices are held. */
interface Tensor {
  form: SheetForm;
  sheets: Map<number, Sheet>;
  /** Of the finest level that was ever held, from which the scale is taken: pooling must not dim the picture. */
  magnitudes: Magnitudes;
  level: number;
}

/** All values the page shows, in pages of one float texture; a cell is one texel, and only changed rows are uploaded. */
export class ValueStore {
  private readonly atlas: Atlas;
  private readonly table = new PageTable();
  private readonly tensors = new Map<string, Tensor>();
  private readonly leadLists = new LeadLists(this.table);
  private readonly shared = new Map<string, Range>();
  /** The matrices that the camera can see, and how coarse each is drawn. */
  private wanted: ReadonlyMap<string, Level | undefined> = new Map();
  private failed: ReadonlySet<string> = new Set();
  /** Tensors that came and found no room. */
  private readonly crowded = new Set<string>();
  private scaling: Scaling = { shared: false, logarithmic: false };
  /** Goes up with whatever changes a value. */
  changes = 0;

  constructor(atlas = new Atlas()) {
    this.atlas = atlas;
  }

  get values(): DataArrayTexture {
    return this.atlas.texture;
  }

  get pages(): DataTexture {
    return this.table.texture;
  }

  get bytes(): number {
    return this.atlas.bytes + this.table.bytes;
  }

  get uploadedBytes(): number {
    return this.atlas.uploadedBytes + this.table.uploadedBytes;
  }

  get size(): number {
    return this.tensors.size;
  }

  sheet(name: string, lead: number): Sheet | undefined {
    return this.tensors.get(name)?.sheets.get(Math.max(0, lead));
  }

  /** Where the table lists a tensor's matrices, and how much of them is recorded; null where none of them is held. */
  leadsOf(name: string, count: number): { at: number; columns: number; rows: number } | null {
    const sheets = this.tensors.get(name)?.sheets;
    const [first] = sheets?.values() ?? [];
    if (!sheets || !first) return null;
    return { at: this.leadLists.find(name, sheets, count), columns: first.columns, rows: first.rows };
  }

  has(name: string): boolean {
    return this.tensors.has(name);
  }

  clear(keep: (name: string) => boolean = () => false): void {
    for (const name of [...this.tensors.keys()]) if (!keep(name)) this.drop(name);
  }

  /** Of sites, only the first `count` positions still hold; of a pool that reaches beyond them, nothing. */
  keepRows(count: number, isSite: (name: string) => boolean): void {
    this.changes++;
    for (const [name, { form, sheets }] of [...this.tensors]) {
      if (!isSite(name) || !(form.rowsGrow || form.columnsGrow)) continue;
      for (const [lead, sheet] of [...sheets]) {
        if (form.rowsGrow && sheet.rows <= count) continue;
        sheet.keepTokens(count);
        if (sheet.isEmpty) sheets.delete(lead);
        else this.list(sheet);
        this.leadLists.forget();
      }
      if (sheets.size === 0) this.tensors.delete(name);
      else this.measure(name);
    }
  }

  /** What the camera can see: the rest makes way where room is short, and what is seen and not here is on its way. */
  want(matrices: readonly MatrixName[]): void {
    this.wanted = new Map(matrices.map((each) => [keyOf(each), each.shown]));
    this.crowded.clear();
    for (const { name, lead, shown } of matrices) {
      if (!shown) continue;
      const { sheets } = this.tensors.get(name) ?? {};
      const all = lead === undefined ? [...(sheets?.values() ?? [])] : [sheets?.get(lead)];
      for (const sheet of all) if (sheet) this.coarsen(sheet, shown);
    }
  }

  fail(matrices: readonly MatrixName[]): void {
    this.failed = new Set(matrices.map(keyOf));
  }

  /** Why a matrix that is not here is not. */
  whyMissing(name: string, lead: number): "failed" | "coming" | null {
    if (isIn(this.failed, name, lead)) return "failed";
    return isIn(this.wanted, name, lead) && !isIn(this.crowded, name, lead) ? "coming" : null;
  }

  /**
   * Takes a tensor in, or one matrix of it, or part of that, at one level, and pools a whole matrix to what it is drawn at.
   * False: there was no room for all of it.
   */
  set(matrix: Matrix): boolean {
    this.changes++;
    const { address, axes, shape, level, values, part } = matrix;
    const form = formOf(axes, shape);
    const tensor = this.tensorOf(address, form);
    const columns = shape.at(-1) ?? 1;
    const rows = form.isVector ? 1 : form.isMerged ? values.length / columns : (shape.at(-2) ?? 1);
    const leads = form.isMerged ? 1 : Math.floor(values.length / Math.max(1, rows * columns));
    let isAgain = false;
    let isWhole = true;
    const take = () => {
      const page = this.takePage();
      isWhole &&= page !== null;
      return page;
    };
    for (let at = 0; at < leads; at++) {
      const lead = at + (matrix.lead ?? 0);
      const sheet = this.sheetOf(tensor, lead);
      const given = sheet.levelOf(level);
      sheet.columns = (part?.ofColumns ?? columns) * 2 ** given.columns;
      sheet.rows = (part?.ofRows ?? rows) * 2 ** given.rows;
      const own = values.subarray(at * rows * columns, (at + 1) * rows * columns);
      const { row, column } = part ?? { row: 0, column: 0 };
      const drawn = joinLevels(given, this.levelFor(address, lead));
      const by = { rows: drawn.rows - given.rows, columns: drawn.columns - given.columns };
      const patch: Patch = {
        level: drawn,
        row: row >> by.rows,
        column: column >> by.columns,
        rows: Math.ceil(rows / 2 ** by.rows),
        columns: Math.ceil(columns / 2 ** by.columns),
        values: poolValues(own, columns, by),
      };
      const isNew = sheet.write(patch, take);
      if (sheet.isEmpty) {
        tensor.sheets.delete(lead);
        this.crowded.add(keyOf({ name: address, lead }));
        continue;
      }
      // A part leaves the coarser picture around it.
      if ((!part && sheet.keepLevel(drawn)) || isNew) this.list(sheet);
      if (isNew) this.count(tensor, level, own);
      else isAgain = true;
    }
    if (tensor.sheets.size === 0) this.tensors.delete(address);
    if (isAgain) this.measure(address);
    this.shared.clear();
    return isWhole;
  }

  /**
   * Rows of a growing tensor; the shape of `values` is the site's, with `stop - start` rows and, for `key`, `stop` keys; with
   * `only`, those of one matrix. A matrix that nobody looks at while others of its tensor are here is left out.
   */
  append(
    name: string,
    axes: string[],
    sizes: number[],
    start: number,
    stop: number,
    values: Float32Array,
    only?: number,
  ): void {
    const shape = axes.map((axis, at) =>
      at === axes.length - 2 ? stop - start : axis === "key" ? stop : (sizes[at] as number),
    );
    const form = formOf(axes, shape);
    if (!form.rowsGrow) return;
    this.changes++;
    const [rows, columns] = [stop - start, shape.at(-1) ?? 1];
    const tensor = this.tensorOf(name, form);
    const isKnown = tensor.sheets.size > 0;
    const take = () => this.takePage();
    for (let at = 0; (at + 1) * rows * columns <= values.length; at++) {
      const lead = at + (only ?? 0);
      if (isKnown && !tensor.sheets.has(lead)) continue;
      const sheet = this.sheetOf(tensor, lead);
      sheet.rows = Math.max(sheet.rows, stop);
      sheet.columns = Math.max(sheet.columns, columns);
      const own = values.subarray(at * rows * columns, (at + 1) * rows * columns);
      const patch: Patch = { level: EXACT, row: start, column: 0, rows, columns, values: own };
      let isNew = false;
      for (const level of sheet.isEmpty ? [this.levelFor(name, lead)] : sheet.levels) {
        const isExact = isSameLevel(level, EXACT);
        const grew = isExact ? sheet.write(patch, take, true) : sheet.fold(patch, level, take);
        isNew ||= grew;
      }
      if (isNew || !this.isListed(sheet)) this.list(sheet);
      if (isKnown) tensor.magnitudes.add(own);
      else this.count(tensor, 0, own);
    }
    this.shared.clear();
  }

  /** The value of a cell. Null: unknown, masked, or known only as part of a pool. */
  valueAt(cell: Cell): number | null {
    const found = this.find(cell);
    return found ? found.sheet.valueAt(EXACT, found.row, found.column) : null;
  }

  /** The pool that a cell is shown by where its own value is not here; null where it is, or nothing is. */
  poolAt(cell: Cell): Pool | null {
    const found = this.find(cell);
    const pool = found?.sheet.poolAt(found.row, found.column);
    if (!pool || isSameLevel(pool.level, EXACT)) return null;
    return { value: pool.value, rows: 2 ** pool.level.rows, columns: 2 ** pool.level.columns };
  }

  setScaling(scaling: Scaling): void {
    this.scaling = scaling;
  }

  get isLogarithmic(): boolean {
    return this.scaling.logarithmic;
  }

  /** The scale of a tensor's colours; null where nothing is known of it. */
  rangeOf(name: string): Range | null {
    const tensor = this.tensors.get(name);
    if (!tensor) return null;
    const { shared, logarithmic } = this.scaling;
    const range = shared ? this.sharedRange(kindOf(name)) : tensor.magnitudes.range();
    return logarithmic ? unclipped(range) : range;
  }

  /** Sends what changed to the device. */
  upload(renderer: WebGLRenderer): void {
    this.atlas.upload(renderer);
    this.table.upload();
  }

  /** The device has lost everything. */
  sendAgain(): void {
    this.atlas.sendAgain();
  }

  dispose(): void {
    this.atlas.dispose();
    this.table.dispose();
  }

  private find({ address, index }: Cell): { sheet: Sheet; row: number; column: number } | null {
    const tensor = this.tensors.get(address);
    if (!tensor) return null;
    const { lead, row, column } = placeInSheet(tensor.form, index);
    const sheet = tensor.sheets.get(lead);
    return sheet && row < sheet.rows && column < sheet.columns ? { sheet, row, column } : null;
  }

  private tensorOf(name: string, form: SheetForm): Tensor {
    let tensor = this.tensors.get(name);
    if (!tensor)
      tensor = { form, sheets: new Map(), magnitudes: new Magnitudes(), level: Number.POSITIVE_INFINITY };
    // The newest is the last to make way.
    this.tensors.delete(name);
    this.tensors.set(name, tensor);
    return tensor;
  }

  private sheetOf(tensor: Tensor, lead: number): Sheet {
    let sheet = tensor.sheets.get(lead);
    if (!sheet) {
      sheet = new Sheet(tensor.form, this.atlas);
      tensor.sheets.set(lead, sheet);
    }
    return sheet;
  }

  private drop(name: string): void {
    this.changes++;
    this.leadLists.forget();
    for (const sheet of this.tensors.get(name)?.sheets.values() ?? []) sheet.drop();
    this.tensors.delete(name);
    this.shared.clear();
  }

  /** A page; what the camera has left makes way, oldest first. */
  private takePage(): number | null {
    if (this.atlas.isFull) this.makeRoom();
    return this.atlas.take();
  }

  private makeRoom(): void {
    for (const [name, { sheets }] of this.tensors) {
      for (const [lead, sheet] of sheets) {
        if (sheet.isEmpty || isIn(this.wanted, name, lead)) continue;
        sheet.drop();
        sheets.delete(lead);
        this.leadLists.forget();
        if (sheets.size === 0) this.tensors.delete(name);
        return;
      }
    }
  }

  /** At which level a matrix is drawn. */
  private levelFor(name: string, lead: number): Level {
    return this.wanted.get(keyOf({ name, lead })) ?? this.wanted.get(keyOf({ name })) ?? EXACT;
  }

  /** Draws a sheet no finer than it is seen; what is too coarse already waits for finer cells. */
  private coarsen(sheet: Sheet, to: Level): void {
    if (!isWithin(sheet.finest, to)) return;
    if (sheet.coarsen(to, () => this.takePage())) this.list(sheet);
  }

  private isListed(sheet: Sheet): boolean {
    const { columns, rows } = sheet.tableSize();
    return sheet.area !== null && sheet.area.columns >= columns && sheet.area.rows >= rows;
  }

  /** Gives a sheet its entries, all of them in order where there is no room for more. */
  private list(sheet: Sheet): void {
    if (sheet.isEmpty) return;
    const base = sheet.finest;
    if (!isSameLevel(base, sheet.base)) sheet.area = null;
    sheet.base = base;
    if (!this.isListed(sheet)) {
      const { columns, rows } = sheet.tableSize();
      if (!this.table.fits(columns, rows)) {
        this.table.clear();
        this.leadLists.clear();
        for (const { sheets } of this.tensors.values())
          for (const each of sheets.values()) this.listAnew(each);
      }
      sheet.area = this.table.take(columns, rows);
    }
    sheet.list(this.table);
    this.leadLists.forget();
  }

  private listAnew(sheet: Sheet): void {
    if (sheet.isEmpty) return;
    const { columns, rows } = sheet.tableSize();
    sheet.area = this.table.take(columns, rows);
    sheet.list(this.table);
  }

  /** Values of a level count for the scale unless finer ones have given it; the first finer ones give it anew. */
  private count(tensor: Tensor, level: number, values: Float32Array): void {
    if (level > tensor.level && tensor.magnitudes.range().limit > 0) return;
    if (level !== tensor.level) tensor.magnitudes = new Magnitudes();
    tensor.level = level;
    tensor.magnitudes.add(values);
  }

  /** Reads a tensor's scale from what is held of it, unless something finer has given it. */
  private measure(name: string): void {
    const tensor = this.tensors.get(name);
    if (!tensor) return;
    const held = [...tensor.sheets.values()].filter((sheet) => !sheet.isEmpty);
    const coarseness = ({ finest }: Sheet) => Math.max(finest.rows, finest.columns);
    const level = Math.min(...held.map(coarseness));
    this.shared.clear();
    if (level > tensor.level && tensor.magnitudes.range().limit > 0) return;
    tensor.level = level;
    tensor.magnitudes = new Magnitudes();
    for (const sheet of held)
      if (coarseness(sheet) === level) for (const row of sheet.texels()) tensor.magnitudes.add(row);
  }

  private sharedRange(kind: string): Range {
    let range = this.shared.get(kind);
    if (!range) {
      const all = new Magnitudes();
      for (const [name, { magnitudes }] of this.tensors) if (kindOf(name) === kind) all.merge(magnitudes);
      range = all.range();
      this.shared.set(kind, range);
    }
    return range;
  }
}

const keyOf = ({ name, lead }: MatrixName) => `${name} ${lead ?? ""}`;

/** Whether a matrix is among those named, by itself or as one of its tensor's. */
function isIn(keys: { has(key: string): boolean }, name: string, lead: number): boolean {
  return keys.has(keyOf({ name })) || keys.has(keyOf({ name, lead }));
}

/** What a tensor is called in every block. */
function kindOf(name: string): string {
  return name.replace(/\d+/g, "#");
}
