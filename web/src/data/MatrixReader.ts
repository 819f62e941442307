import i18next from "i18next";
import * as zarr from "zarrita";
import type { Cell } from "../layout/Cell";
import { hasLeads } from "../layout/leads";
import type { Matrix } from "../layout/Matrix";
import { ByteLru } from "./ByteLru";
import type { Rows } from "./HeldRows";
import { lastLevelOf, RecordedRows } from "./RecordedRows";
import { MOST_CELLS, RowsBatch } from "./RowsBatch";
import type { Selection, StoreAddress, StoreSource } from "./Source";

export interface MatrixAddress {
  store: StoreAddress;
  name: string;
  level: number;
  /** Index along the leading axis (a head, an expert): that matrix alone. Without it, all of them. */
  lead?: number | undefined;
  /** In cells of the level, cut as the store is: that part alone. */
  part?: Tile | undefined;
}

/** A rectangle of a matrix. */
export interface Tile {
  row: number;
  column: number;
  rows: number;
  columns: number;
}

/** What is to be known of a recording's tensor to ask for all its rows without opening the store. */
export interface SiteShape {
  name: string;
  axes: string[];
  /** At level 0. */
  shape: number[];
}

/** What is held besides the scene's own pages, so that what was seen is not fetched again: a few screens full each. */
const [ROWS_BYTES, CACHE_BYTES] = [24 * 2 ** 20, 16 * 2 ** 20];
/** And of what is written while one looks, the last positions: a few dozen of all that is near. */
const LIVE_BYTES = 6 * 2 ** 20;
/** Stores kept open: the recording on screen, the one before it, and the weights. */
const OPEN_STORES = 4;

type RecordingAddress = Extract<StoreAddress, { kind: "recording" }>;

interface OpenStore {
  group: zarr.Group<zarr.Readable>;
  chunks: WholeChunks;
}

interface Pending {
  promise: Promise<Matrix>;
  controller: AbortController;
  waiting: number;
}

/** The page's one reader of tensors. Equal requests share one answer, and one that nobody waits for is cancelled. */
export class MatrixReader {
  /** What is known of the recording on screen; of it nothing is asked for twice. */
  readonly rows = new RecordedRows(ROWS_BYTES, LIVE_BYTES);
  readonly #cache = new ByteLru<Matrix>(CACHE_BYTES, (matrix) => matrix.values.byteLength);
  readonly #stores = new Map<string, Promise<OpenStore>>();
  readonly #pending = new Map<string, Pending>();
  /** Of tensors of recordings: the end of what is being read of them with all their heads. */
  readonly #turns = new Map<string, Promise<unknown>>();
  readonly #source: StoreSource;
  readonly #batch: RowsBatch | null;
  /** Goes up when rows that are on their way are no longer those of the recording. */
  #edition = 0;

  constructor(source: StoreSource) {
    this.#source = source;
    const { readRows } = source;
    this.#batch = readRows ? new RowsBatch(readRows) : null;
  }

  /** A level past the last one stands for the last one, one finer than there is for the first. Throws MissingError. */
  async read(address: MatrixAddress, signal: AbortSignal): Promise<Matrix> {
    signal.throwIfAborted();
    const { store, name, level, lead, part } = address;
    const key = JSON.stringify([keyOf(store), name, level, lead, part]);
    const cached = this.#findRows(address) ?? this.#cache.get(key);
    if (cached) return cached;
    let pending = this.#pending.get(key);
    const forget = () => {
      if (this.#pending.get(key) === pending) this.#pending.delete(key);
    };
    if (!pending) {
      const controller = new AbortController();
      const edition = this.#edition;
      const complete = () => this.#complete(address, controller.signal);
      const isWhole = store.kind === "recording" && !part && lead === undefined;
      const inTurn = isWhole ? this.#inTurn(store.traceId, name, controller.signal, complete) : complete();
      const promise = inTurn.then((matrix) => {
        if (edition === this.#edition && !this.#findRows(address)) this.#cache.set(key, matrix);
        return matrix;
      });
      pending = { promise, controller, waiting: 0 };
      this.#pending.set(key, pending);
      promise.then(forget, forget);
    }
    return waitFor(pending, signal, forget);
  }

  /** The server has replaced every row of the recording on screen: nothing that was read, or is being read, holds. */
  forgetRows(traceId: string): void {
    this.#edition += 1;
    this.rows.forget();
    const isOf = (key: string) => isOfRecording(key, traceId);
    for (const [key] of [...this.#cache.entries()]) if (isOf(key)) this.#cache.delete(key);
    for (const key of [...this.#pending.keys()]) if (isOf(key)) this.#pending.delete(key);
    this.#turns.clear();
  }

  /** Asks for the rows that are missing, where some are known; null where none are, or none can be asked for. */
  async fill(address: MatrixAddress, signal: AbortSignal): Promise<Rows[] | null> {
    const { store, name, level, lead } = address;
    if (store.kind !== "recording" || !this.#batch || address.part) return null;
    const { traceId, positions } = store;
    const edition = this.#edition;
    const missing = this.rows.gaps(traceId, sheetName(name, lead), level, positions);
    if (!missing) return null;
    // Whole pools, so that no row is cut in two.
    const most = Math.max(1, Math.floor(MOST_CELLS / missing.rowCells)) * 2 ** missing.level;
    const found: Rows[] = [];
    for (const [from, until] of missing.gaps) {
      for (let start = from; start < until; ) {
        const stop = Math.min(until, start + most);
        const place = { traceId, start, stop, level: missing.level };
        const first = start >> missing.level;
        const cells = (Math.ceil(stop / 2 ** missing.level) - first) * missing.rowCells;
        const { shape, values } = await this.#batch.read(place, name, cells, signal);
        if (edition !== this.#edition) return null;
        const rows = { start: first, stop: first + (shape.at(-2) ?? 0), shape, values, positions: stop };
        const each = this.addRows(traceId, { name, axes: missing.axes }, missing.level, rows);
        found.push(each[lead ?? 0] ?? rows);
        start = stop;
      }
    }
    return found;
  }

  /**
   * All matrices of a small tensor of a recording. Many of those share a request: where a short text is looked at, asking for
   * each chunk would take longer than what is in them. Null where rows cannot be asked for.
   */
  async readTogether(
    store: StoreAddress,
    site: SiteShape,
    level: number,
    signal: AbortSignal,
  ): Promise<Matrix[] | null> {
    const batch = this.#batch;
    if (store.kind !== "recording" || !batch) return null;
    const read = () => this.#readAll(batch, store, site, level, signal);
    return this.#inTurn(store.traceId, site.name, signal, read);
  }

  async #readAll(
    batch: RowsBatch,
    store: RecordingAddress,
    site: SiteShape,
    level: number,
    signal: AbortSignal,
  ): Promise<Matrix[] | null> {
    const { name, axes, shape } = site;
    const at = Math.min(level, lastLevelOf(shape));
    const leads = hasLeads(axes) ? Array.from({ length: shape[0] ?? 0 }, (_, lead) => lead) : [undefined];
    const findAll = () => {
      const found = leads.map((lead) => this.#findRows({ store, name, level: at, lead }));
      return found.every((matrix) => matrix !== null) ? found : null;
    };
    const known = findAll();
    if (known) return known;
    await this.fillTogether(store, site, at, signal);
    const filled = findAll();
    if (filled) return filled;
    const edition = this.#edition;
    const { traceId, positions } = store;
    const place = { traceId, start: 0, stop: positions, level: at };
    const found = await batch.read(place, name, cellsOf(shape, at), signal);
    if (edition !== this.#edition) return null;
    this.addRows(traceId, site, at, { ...found, start: 0, stop: found.shape.at(-2) ?? 0, positions });
    return findAll();
  }

  /** Asks for the rows that are missing of all matrices; null where nothing is known of them. */
  async fillTogether(
    store: StoreAddress,
    site: SiteShape,
    level: number,
    signal: AbortSignal,
  ): Promise<Rows[] | null> {
    if (store.kind !== "recording" || !this.#batch) return null;
    const { traceId, positions } = store;
    const edition = this.#edition;
    const first = hasLeads(site.axes) ? 0 : undefined;
    const missing = this.rows.gaps(traceId, sheetName(site.name, first), level, positions);
    if (missing?.level !== level) return null;
    const added: Rows[] = [];
    for (const [start, stop] of missing.gaps) {
      const at = start >> level;
      const cells = cellsOf(site.shape, level) * ((stop - start) / positions);
      const found = await this.#batch.read({ traceId, start, stop, level }, site.name, cells, signal);
      if (edition !== this.#edition) return null;
      const rows = { ...found, start: at, stop: at + (found.shape.at(-2) ?? 0), positions: stop };
      this.addRows(traceId, site, level, rows);
      added.push(rows);
    }
    return added;
  }

  /** Exact rows of all matrices of a tensor, for who has the others. They are held as what comes live. */
  async readRows(
    store: RecordingAddress,
    site: SiteShape,
    runs: readonly (readonly [start: number, stop: number])[],
    signal: AbortSignal,
  ): Promise<Rows[]> {
    if (!this.#batch) throw new MissingError(i18next.t("files.noRows"));
    const { traceId, positions } = store;
    const rowCells = Math.ceil(cellsOf(site.shape, 0) / Math.max(1, positions));
    const most = Math.max(1, Math.floor(MOST_CELLS / rowCells));
    const edition = this.#edition;
    const found: Rows[] = [];
    for (const [from, until] of runs) {
      for (let start = from; start < until; start += most) {
        const place = { traceId, start, stop: Math.min(until, start + most), level: 0 };
        const cells = rowCells * (place.stop - start);
        const { shape, values } = await this.#batch.read(place, site.name, cells, signal);
        if (edition !== this.#edition) return [];
        const rows = { start, stop: place.stop, shape, values, positions: place.stop };
        this.addRows(traceId, site, 0, rows, true);
        found.push(rows);
      }
    }
    return found;
  }

  /** Takes in rows of all matrices of a tensor, read or (`isLive`) sent by the server; gives those of each. */
  addRows(
    traceId: string,
    { name, axes }: Pick<SiteShape, "name" | "axes">,
    level: number,
    rows: Rows,
    isLive = false,
  ): Rows[] {
    const { shape, values } = rows;
    const leads = hasLeads(axes) ? (shape[0] ?? 1) : 1;
    const cells = values.length / leads;
    return Array.from({ length: leads }, (_, at) => {
      const own = values.subarray(at * cells, (at + 1) * cells);
      const one = hasLeads(axes) ? { ...rows, shape: [1, ...shape.slice(1)], values: own } : rows;
      this.rows.add(traceId, sheetName(name, hasLeads(axes) ? at : undefined), axes, level, one, isLive);
      return one;
    });
  }

  /** A cell's value, if its row is here. */
  valueAt({ address, index }: Cell): number | null {
    const [lead, ...rest] = index;
    return (
      this.rows.valueAt(sheetName(address, lead), [0, ...rest]) ?? this.rows.valueAt(address, [...index])
    );
  }

  /** Rows of level 0 from a position on, oldest first. */
  rowsAfter({ address, lead }: Matrix, position: number): Rows[] {
    return this.rows.after(sheetName(address, lead), position);
  }

  /** Whether rows can be asked for, of several tensors at once. */
  get readsRows(): boolean {
    return this.#batch !== null;
  }

  holds(store: StoreAddress): boolean {
    return this.#source.holds(store);
  }

  /** One cell of level 0, by the chunk it stands in. Null where only coarser levels are there. */
  async readCell(store: StoreAddress, cell: Cell, signal: AbortSignal): Promise<number | null> {
    const values = await this.readCells(store, cell.address, cell.index, signal);
    return values?.[0] ?? null;
  }

  /** Cells of level 0, by the chunks they stand in: at an index, in a range, or along a whole axis (null). */
  async readCells(
    store: StoreAddress,
    name: string,
    selection: Selection,
    signal: AbortSignal,
  ): Promise<Float32Array | null> {
    const { group: root, chunks } = await this.#open(store);
    const group = await zarr.open.v3(root.resolve(name), { kind: "group", signal });
    if (Number(group.attrs.first_level ?? 0) > 0) return null;
    const array = await zarr.open.v3(group.resolve("0"), { kind: "array", signal });
    if (!array.is("float32")) throw new TypeError(i18next.t("files.notFloats", { file: name }));
    chunks.expect(array.path, array.chunks);
    const slices = selection.map((at) =>
      at !== null && typeof at === "object" ? zarr.slice(at.start, at.stop) : at,
    );
    const found = (await zarr.get(array, slices, { signal })) as number | zarr.Chunk<"float32">;
    return typeof found === "number" ? Float32Array.of(found) : found.data;
  }

  #findRows({ store, name, level, lead, part }: MatrixAddress): Matrix | null {
    if (store.kind !== "recording" || part) return null;
    const found = this.rows.find(store.traceId, sheetName(name, lead), level, store.positions);
    return found && { ...found, address: name, lead };
  }

  /**
   * What `read` gives, begun once those before it have what they want of the tensor: the scene and the inspector may ask for
   * it at the same time, each in its own way, and what one of them has read the other need not ask for.
   */
  async #inTurn<T>(traceId: string, name: string, signal: AbortSignal, read: () => Promise<T>): Promise<T> {
    const key = `${traceId} ${name}`;
    const before = this.#turns.get(key);
    // At once where nobody is before it: what is being read when rows are replaced must not be taken for the new ones.
    const own = before
      ? before.then(() => {
          signal.throwIfAborted();
          return read();
        })
      : read();
    const end = own.catch(() => {});
    this.#turns.set(key, end);
    try {
      return await own;
    } finally {
      if (this.#turns.get(key) === end) this.#turns.delete(key);
    }
  }

  async #complete(address: MatrixAddress, signal: AbortSignal): Promise<Matrix> {
    const edition = this.#edition;
    if (await this.fill(address, signal)) {
      const whole = this.#findRows(address);
      if (whole) return whole;
    }
    const matrix = await this.#fetch(address, signal);
    const { store, name, lead, part } = address;
    if (store.kind === "recording" && !part && edition === this.#edition) {
      const { axes, shape, level, values } = matrix;
      const stop = shape.at(-2) ?? 0;
      // The store may have grown since it was asked; of pools one cannot tell.
      const positions = level === 0 ? stop : store.positions;
      const rows = { start: 0, stop, shape, values, positions };
      this.rows.add(store.traceId, sheetName(name, lead), axes, level, rows);
    }
    return matrix;
  }

  async #fetch(address: MatrixAddress, signal: AbortSignal): Promise<Matrix> {
    const { group: root, chunks } = await this.#open(address.store);
    const group = await zarr.open.v3(root.resolve(address.name), { kind: "group", signal });
    const last = Number(group.attrs.levels ?? 1) - 1;
    const level = Math.max(Math.min(address.level, last), Number(group.attrs.first_level ?? 0));
    const array = await zarr.open.v3(group.resolve(String(level)), { kind: "array", signal });
    if (!array.is("float32")) throw new TypeError(i18next.t("files.notFloats", { file: address.name }));
    chunks.expect(array.path, array.chunks);
    const { lead, part } = address;
    const chunk = await zarr.get(array, selectionOf(array.shape, lead, part), { signal });
    const [ofRows = 1, ofColumns = 1] = array.shape.slice(-2);
    return {
      address: address.name,
      axes: Array.isArray(group.attrs.axes) ? group.attrs.axes.map(String) : [],
      shape: chunk.shape,
      level,
      values: chunk.data as Float32Array,
      lead,
      part: part && { row: part.row, column: part.column, ofRows, ofColumns },
    };
  }

  #open(store: StoreAddress): Promise<OpenStore> {
    const key = keyOf(store);
    let opened = this.#stores.get(key);
    if (!opened) {
      opened = openStore(this.#source, store);
      this.#stores.set(key, opened);
      opened.catch(() => this.#stores.delete(key));
      for (const oldest of this.#stores.keys()) {
        if (this.#stores.size <= OPEN_STORES) break;
        this.#stores.delete(oldest);
      }
    }
    return opened;
  }
}

/** Under which name the rows of a matrix are held. */
function sheetName(name: string, lead: number | undefined): string {
  return lead === undefined ? name : `${name} ${lead}`;
}

/** What is read of an array: all of it, or one index along the leading axis, or a part of the last two axes. */
function selectionOf(shape: readonly number[], lead: number | undefined, part: Tile | undefined) {
  if (lead === undefined && !part) return null;
  return shape.map((size, axis) => {
    const fromEnd = shape.length - axis;
    if (part && fromEnd === 2) return zarr.slice(part.row, Math.min(size, part.row + part.rows));
    if (part && fromEnd === 1) return zarr.slice(part.column, Math.min(size, part.column + part.columns));
    return axis === 0 && lead !== undefined ? zarr.slice(lead, lead + 1) : null;
  });
}

/** How many cells a tensor has at a level. */
function cellsOf(shape: readonly number[], level: number): number {
  return shape.reduce(
    (product, size, axis) => product * (axis >= shape.length - 2 ? Math.ceil(size / 2 ** level) : size),
    1,
  );
}

function keyOf(store: StoreAddress): string {
  return store.kind === "recording"
    ? `recording ${store.traceId} ${store.positions}`
    : `weights ${store.modelId}`;
}

/** Whether what is kept under a key was read from a recording. */
function isOfRecording(key: string, traceId: string): boolean {
  const [store] = JSON.parse(key) as [string];
  return store.startsWith(`recording ${traceId} `);
}

async function openStore(source: StoreSource, store: StoreAddress): Promise<OpenStore> {
  const fetching = new zarr.FetchStore(source.storeUrl(store), {
    fetch: (request) => source.fetchKey(request),
  });
  const chunks = new WholeChunks(fetching);
  try {
    const listed = await zarr.withConsolidatedMetadata(chunks, { format: "v3" });
    return { group: await zarr.open.v3(listed, { kind: "group" }), chunks };
  } catch (error) {
    if (error instanceof SyntaxError || zarr.isZarritaError(error))
      throw new MissingError(i18next.t("files.damaged", { file: "zarr.json" }), { cause: error });
    throw error;
  }
}

/** A chunk is not there, or not all of it. */
export class MissingError extends Error {
  override readonly name = "MissingError";
}

/** A store that knows how long its chunks are: zarrita takes a missing one for empty, and would show NaN. */
class WholeChunks implements zarr.AsyncReadable {
  readonly #inner: zarr.FetchStore;
  readonly #bytes = new Map<string, number>();

  constructor(inner: zarr.FetchStore) {
    this.#inner = inner;
  }

  expect(path: string, shape: readonly number[]): void {
    this.#bytes.set(
      path,
      shape.reduce((product, size) => product * size, Float32Array.BYTES_PER_ELEMENT),
    );
  }

  async get(key: zarr.AbsolutePath, options?: zarr.GetOptions): Promise<Uint8Array | undefined> {
    const found = await this.#inner.get(key, options);
    const expected = this.#bytes.get(key.split("/c/")[0] ?? "");
    const isWhole = found !== undefined && (expected === undefined || found.byteLength === expected);
    if (!isWhole) throw new MissingError(i18next.t("files.cutOff", { file: key.slice(1) }));
    return found;
  }
}

function waitFor(pending: Pending, signal: AbortSignal, forget: () => void): Promise<Matrix> {
  pending.waiting += 1;
  return new Promise((resolve, reject) => {
    const leave = () => {
      reject(signal.reason);
      pending.waiting -= 1;
      if (pending.waiting > 0) return;
      forget();
      pending.controller.abort();
    };
    signal.addEventListener("abort", leave, { once: true });
    pending.promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", leave));
  });
}
