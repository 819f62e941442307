import * as zarr from "zarrita";
import type { Cell } from "../layout/Cell";
import type { Matrix } from "../layout/Matrix";
import { ByteLru } from "./ByteLru";
import { RecordedRows, type Rows } from "./RecordedRows";
import { MOST_CELLS, RowsBatch } from "./RowsBatch";
import type { Selection, StoreAddress, StoreSource } from "./Source";

export interface MatrixAddress {
  store: StoreAddress;
  name: string;
  level: number;
}

/** 96 MiB: a few screens full of matrices at the level that fits the screen, on a phone too. */
const CACHE_BYTES = 96 * 2 ** 20;
/** Stores kept open: the recording on screen, the one before it, and the weights. */
const OPEN_STORES = 4;

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
  readonly rows = new RecordedRows(CACHE_BYTES);
  readonly #cache = new ByteLru<Matrix>(CACHE_BYTES, (matrix) => matrix.values.byteLength);
  readonly #stores = new Map<string, Promise<OpenStore>>();
  readonly #pending = new Map<string, Pending>();
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
    const key = JSON.stringify([keyOf(address.store), address.name, address.level]);
    const cached = this.#findRows(address) ?? this.#cache.get(key);
    if (cached) return cached;
    let pending = this.#pending.get(key);
    const forget = () => {
      if (this.#pending.get(key) === pending) this.#pending.delete(key);
    };
    if (!pending) {
      const controller = new AbortController();
      const edition = this.#edition;
      const promise = this.#complete(address, controller.signal).then((matrix) => {
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
  }

  /** Asks for the rows that are missing, where some are known; null where none are, or none can be asked for. */
  async fill({ store, name, level }: MatrixAddress, signal: AbortSignal): Promise<Rows[] | null> {
    if (store.kind !== "recording" || !this.#batch) return null;
    const { traceId, positions } = store;
    const edition = this.#edition;
    const missing = this.rows.gaps(traceId, name, level, positions);
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
        this.rows.add(traceId, name, missing.axes, missing.level, rows);
        found.push(rows);
        start = stop;
      }
    }
    return found;
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
    if (!array.is("float32")) throw new TypeError(`${name} is not stored as float32`);
    chunks.expect(array.path, array.chunks);
    const slices = selection.map((at) =>
      at !== null && typeof at === "object" ? zarr.slice(at.start, at.stop) : at,
    );
    const found = (await zarr.get(array, slices, { signal })) as number | zarr.Chunk<"float32">;
    return typeof found === "number" ? Float32Array.of(found) : found.data;
  }

  #findRows({ store, name, level }: MatrixAddress): Matrix | null {
    return store.kind === "recording" ? this.rows.find(store.traceId, name, level, store.positions) : null;
  }

  async #complete(address: MatrixAddress, signal: AbortSignal): Promise<Matrix> {
    const edition = this.#edition;
    if (await this.fill(address, signal)) {
      const whole = this.#findRows(address);
      if (whole) return whole;
    }
    const matrix = await this.#fetch(address, signal);
    const { store, name } = address;
    if (store.kind === "recording" && edition === this.#edition) {
      const { axes, shape, level, values } = matrix;
      const stop = shape.at(-2) ?? 0;
      // The store may have grown since it was asked; of pools one cannot tell.
      const positions = level === 0 ? stop : store.positions;
      this.rows.add(store.traceId, name, axes, level, { start: 0, stop, shape, values, positions });
    }
    return matrix;
  }

  async #fetch(address: MatrixAddress, signal: AbortSignal): Promise<Matrix> {
    const { group: root, chunks } = await this.#open(address.store);
    const group = await zarr.open.v3(root.resolve(address.name), { kind: "group", signal });
    const last = Number(group.attrs.levels ?? 1) - 1;
    const level = Math.max(Math.min(address.level, last), Number(group.attrs.first_level ?? 0));
    const array = await zarr.open.v3(group.resolve(String(level)), { kind: "array", signal });
    if (!array.is("float32")) throw new TypeError(`${address.name} is not stored as float32`);
    chunks.expect(array.path, array.chunks);
    const chunk = await zarr.get(array, null, { signal });
    return {
      address: address.name,
      axes: Array.isArray(group.attrs.axes) ? group.attrs.axes.map(String) : [],
      shape: chunk.shape,
      level,
      values: chunk.data as Float32Array,
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
      throw new MissingError("zarr.json is cut off or damaged", { cause: error });
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
    if (!isWhole) throw new MissingError(`${key.slice(1)} is missing or cut off`);
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
