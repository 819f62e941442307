import {
  DataArrayTexture,
  DataTexture,
  FloatType,
  NearestFilter,
  RedFormat,
  Vector3,
  type WebGLRenderer,
} from "three";
import type { Cell } from "../layout/Cell";
import type { Matrix } from "../layout/Matrix";
import { robustMax } from "../layout/robustMax";
import { isTokenAxis } from "../protocol/isTokenAxis";

/** The atlas is rows of this many texels, this many to a layer: a size every WebGL2 device has. */
export const ATLAS_SIDE = 1024;
/** Stands in the texture for a masked or missing cell, which is drawn clear: NaN does not survive every driver. */
export const ABSENT = 3e38;

/** 192 MiB: beyond it, tensors that the camera has left are let go. */
const BUDGET_ROWS = 48 * ATLAS_SIDE;

/** Where a tensor lies in the atlas, and how its indices run through it. */
export interface Stored {
  axes: string[];
  level: number;
  /** Recorded cells at level 0, in axis order. */
  counts: number[];
  /** First atlas row. */
  row: number;
  rows: number;
  strides: number[];
  /** Sizes the strides were made for, at `level`. */
  capacity: number[];
  /** The magnitude at full brightness. */
  limit: number;
  /** Level of the values `limit` was read from. */
  limitLevel: number;
}

/** All values the page shows, in one float texture; a cell is one texel, and only changed rows are uploaded. */
export class ValueStore {
  texture: DataArrayTexture;
  private data = new Float32Array(ATLAS_SIDE * ATLAS_SIDE).fill(ABSENT);
  private readonly entries = new Map<string, Stored>();
  private readonly free: { row: number; rows: number }[] = [];
  private nextRow = 0;
  private dirty: { row: number; rows: number }[] = [];

  constructor() {
    this.texture = makeTexture(this.data);
  }

  get(name: string): Stored | undefined {
    return this.entries.get(name);
  }

  get bytes(): number {
    return this.data.byteLength;
  }

  clear(keep: (name: string) => boolean = () => false): void {
    for (const [name, entry] of this.entries) {
      if (!keep(name)) this.drop(name, entry);
    }
    if (this.entries.size === 0) {
      this.free.length = 0;
      this.nextRow = 0;
    }
  }

  get size(): number {
    return this.entries.size;
  }

  /**
   * Of sites, only the first `count` positions still hold; of a pool that reaches beyond them, nothing. They move to a
   * place with room for `columns`, so that little is sent to the device.
   */
  keepRows(count: number, columns: number, isSite: (name: string) => boolean): void {
    for (const [name, entry] of [...this.entries]) {
      const { axes, level, counts, limit, limitLevel } = entry;
      const isGrowing = (axis: number) => isTokenAxis(axes[axis]);
      const pooled = (axis: number) => (axis >= axes.length - 2 ? 2 ** level : 1);
      const whole = (count >> level) << level;
      const kept = counts.map((size, axis) => (isGrowing(axis) ? Math.min(size, whole) : size));
      if (!isSite(name) || `${kept}` === `${counts}`) continue;
      if (kept.includes(0)) {
        this.drop(name, entry);
        continue;
      }
      const shape = kept.map((size, axis) => Math.ceil(size / pooled(axis)));
      const values = this.read(entry, shape);
      const capacity = shape.map((size, axis) =>
        isGrowing(axis) ? Math.max(size, Math.ceil(columns / pooled(axis))) : size,
      );
      const moved = this.reserve(name, axes, level, capacity);
      Object.assign(moved, { counts: kept, limit, limitLevel });
      copyStrided(values, shape, this.data, moved.row * ATLAS_SIDE, moved.strides);
      this.dirty.push({ row: moved.row, rows: moved.rows });
    }
  }

  /** Lets go of what is not wanted, oldest first, once the atlas holds more than its budget. */
  trim(wanted: ReadonlySet<string>): void {
    let rows = [...this.entries.values()].reduce((sum, entry) => sum + entry.rows, 0);
    for (const [name, entry] of this.entries) {
      if (rows <= BUDGET_ROWS) return;
      if (wanted.has(name)) continue;
      this.drop(name, entry);
      rows -= entry.rows;
    }
  }

  /** Takes a whole tensor in; growing axes get room for `columns`. */
  set(matrix: Matrix, columns: number): void {
    const { axes, shape, level, values } = matrix;
    const old = this.entries.get(matrix.address);
    const pooled = (axis: number) => (axis >= axes.length - 2 ? 2 ** level : 1);
    const counts = shape.map((size, axis) => size * pooled(axis));
    const capacity = shape.map((size, axis) =>
      isTokenAxis(axes[axis]) ? Math.max(size, Math.ceil(columns / pooled(axis))) : size,
    );
    const entry = this.reserve(matrix.address, axes, level, capacity);
    entry.counts = level === 0 ? [...shape] : counts;
    copyStrided(values, shape, this.data, entry.row * ATLAS_SIDE, entry.strides);
    // One scale for a tensor, from its most exact values: pooling by magnitude must not dim the picture.
    if (!old || level <= old.limitLevel || old.limit === 0) {
      entry.limit = robustMax(values);
      entry.limitLevel = level;
    } else {
      entry.limit = old.limit;
      entry.limitLevel = old.limitLevel;
    }
    this.dirty.push({ row: entry.row, rows: entry.rows });
  }

  /** Rows of a growing tensor; the shape of `values` is the site's, with `stop - start` rows and, for `key`, `stop` keys. */
  append(
    name: string,
    axes: string[],
    sizes: number[],
    start: number,
    stop: number,
    values: Float32Array,
    columns: number,
  ): void {
    let entry = this.entries.get(name);
    const rowAxis = axes.findIndex((axis) => axis === "pos" || axis === "query");
    if (rowAxis < 0 || (entry && entry.level > 0)) return;
    const tooSmall = entry?.capacity.some((size, axis) => isTokenAxis(axes[axis]) && size < stop);
    if (!entry || tooSmall) {
      const kept = entry && this.read(entry, entry.counts);
      const capacity = axes.map((axis, at) =>
        isTokenAxis(axis) ? Math.max(columns, stop) : (sizes[at] as number),
      );
      const [limit, limitLevel, counts] = [entry?.limit ?? 0, entry?.limitLevel ?? 0, entry?.counts];
      entry = this.reserve(name, axes, 0, capacity);
      Object.assign(entry, { limit, limitLevel, counts: counts ?? capacity.map(() => 0) });
      if (kept && counts) copyStrided(kept, counts, this.data, entry.row * ATLAS_SIDE, entry.strides);
    }
    const shape = axes.map((axis, at) =>
      at === rowAxis ? stop - start : axis === "key" ? stop : (sizes[at] as number),
    );
    const offset = entry.row * ATLAS_SIDE + start * (entry.strides[rowAxis] as number);
    copyStrided(values, shape, this.data, offset, entry.strides);
    entry.counts = axes.map((axis, at) =>
      isTokenAxis(axis) ? Math.max(stop, entry.counts[at] ?? 0) : (sizes[at] as number),
    );
    if (entry.limit === 0) entry.limit = robustMax(values);
    this.dirty.push({ row: entry.row, rows: entry.rows });
  }

  /** The value of a cell; at a pooled level that of the pool it is in. Null: unknown or masked. */
  valueAt(cell: Cell): number | null {
    const entry = this.entries.get(cell.address);
    if (!entry) return null;
    let at = entry.row * ATLAS_SIDE;
    for (let axis = 0; axis < entry.axes.length; axis++) {
      const index = cell.index[axis] ?? 0;
      if (index >= (entry.counts[axis] as number)) return null;
      const pooled = axis >= entry.axes.length - 2 ? entry.level : 0;
      at += (index >> pooled) * (entry.strides[axis] as number);
    }
    const value = this.data[at] as number;
    return Math.abs(value) >= ABSENT / 2 ? null : value;
  }

  /** Sends what changed to the device. */
  upload(renderer: WebGLRenderer): void {
    if (this.texture.image.data !== this.data) {
      this.texture.dispose();
      this.texture = makeTexture(this.data);
      this.dirty = [];
      return;
    }
    for (const { row, rows } of this.dirty) {
      for (let from = row; from < row + rows; ) {
        const layer = Math.floor(from / ATLAS_SIDE);
        const until = Math.min(row + rows, (layer + 1) * ATLAS_SIDE);
        const part = this.data.subarray(from * ATLAS_SIDE, until * ATLAS_SIDE);
        const source = new DataTexture(part, ATLAS_SIDE, until - from, RedFormat, FloatType);
        renderer.copyTextureToTexture(
          source,
          this.texture,
          null,
          new Vector3(0, from - layer * ATLAS_SIDE, layer),
        );
        from = until;
      }
    }
    this.dirty = [];
  }

  dispose(): void {
    this.texture.dispose();
  }

  private reserve(name: string, axes: string[], level: number, capacity: number[]): Stored {
    const strides = capacity.map((_, axis) =>
      capacity.slice(axis + 1).reduce((product, size) => product * size, 1),
    );
    const cells = capacity.reduce((product, size) => product * size, 1);
    const rows = Math.max(1, Math.ceil(cells / ATLAS_SIDE));
    const old = this.entries.get(name);
    if (old && old.rows !== rows) this.free.push({ row: old.row, rows: old.rows });
    const row = old && old.rows === rows ? old.row : this.allocate(rows);
    this.data.fill(ABSENT, row * ATLAS_SIDE, (row + rows) * ATLAS_SIDE);
    const entry: Stored = {
      axes,
      level,
      counts: [],
      row,
      rows,
      strides,
      capacity,
      limit: 0,
      limitLevel: level,
    };
    this.entries.set(name, entry);
    return entry;
  }

  private allocate(rows: number): number {
    const at = this.free.findIndex((gap) => gap.rows >= rows);
    const gap = this.free[at];
    if (gap) {
      const { row } = gap;
      if (gap.rows === rows) this.free.splice(at, 1);
      else this.free[at] = { row: row + rows, rows: gap.rows - rows };
      return row;
    }
    const row = this.nextRow;
    this.nextRow += rows;
    const layers = Math.ceil(this.nextRow / ATLAS_SIDE);
    const held = this.data.length / (ATLAS_SIDE * ATLAS_SIDE);
    if (layers > held) {
      const grown = new Float32Array(Math.max(layers, Math.ceil(held * 1.5)) * ATLAS_SIDE * ATLAS_SIDE).fill(
        ABSENT,
      );
      grown.set(this.data);
      this.data = grown;
    }
    return row;
  }

  private drop(name: string, entry: Stored): void {
    this.free.push({ row: entry.row, rows: entry.rows });
    this.entries.delete(name);
  }

  /** The cells of an entry within `shape`, at its level. */
  private read(entry: Stored, shape: readonly number[]): Float32Array {
    const size = shape.reduce((product, count) => product * count, 1);
    const values = new Float32Array(size);
    const from = this.data.subarray(entry.row * ATLAS_SIDE);
    const walk = (axis: number, source: number, target: number): number => {
      if (axis === shape.length) {
        values[target] = from[source] as number;
        return target + 1;
      }
      for (let index = 0; index < (shape[axis] as number); index++) {
        target = walk(axis + 1, source + index * (entry.strides[axis] as number), target);
      }
      return target;
    };
    walk(0, 0, 0);
    return values;
  }
}

function makeTexture(data: Float32Array): DataArrayTexture {
  const layers = data.length / (ATLAS_SIDE * ATLAS_SIDE);
  const texture = new DataArrayTexture(data as Float32Array<ArrayBuffer>, ATLAS_SIDE, ATLAS_SIDE, layers);
  texture.format = RedFormat;
  texture.type = FloatType;
  texture.internalFormat = "R32F";
  texture.minFilter = NearestFilter;
  texture.magFilter = NearestFilter;
  texture.unpackAlignment = 4;
  texture.needsUpdate = true;
  return texture;
}

/** Copies a dense tensor to its strided place; what is not finite becomes ABSENT. */
function copyStrided(
  values: Float32Array,
  shape: number[],
  target: Float32Array,
  offset: number,
  strides: number[],
): void {
  const rank = shape.length;
  const width = shape[rank - 1] ?? 1;
  const lines = width === 0 ? 0 : values.length / width;
  const index = new Array<number>(Math.max(0, rank - 1)).fill(0);
  let source = 0;
  for (let line = 0; line < lines; line++) {
    let at = offset;
    for (let axis = 0; axis < rank - 1; axis++) at += (index[axis] as number) * (strides[axis] as number);
    for (let column = 0; column < width; column++) {
      const value = values[source++] as number;
      target[at + column] = Number.isFinite(value) ? value : ABSENT;
    }
    for (let axis = rank - 2; axis >= 0; axis--) {
      index[axis] = (index[axis] as number) + 1;
      if ((index[axis] as number) < (shape[axis] as number)) break;
      index[axis] = 0;
    }
  }
}
