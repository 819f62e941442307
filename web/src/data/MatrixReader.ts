import * as zarr from "zarrita";
import type { Matrix } from "../layout/Matrix";
import { ByteLru } from "./ByteLru";
import { isAbort, pathOfId, UnreachableError } from "./request";

/** Which Zarr store: a recording at so many recorded positions (its shapes follow them), or a model's weights. */
export type StoreAddress =
  | { kind: "recording"; traceId: string; positions: number }
  | { kind: "weights"; modelId: string };

export interface MatrixAddress {
  store: StoreAddress;
  name: string;
  level: number;
}

/** 96 MiB: a few screens full of matrices at the level that fits the screen, on a phone too. */
const CACHE_BYTES = 96 * 2 ** 20;
/** Stores kept open: the recording on screen, the one before it, and the weights. */
const OPEN_STORES = 4;

type OpenStore = zarr.Group<zarr.Readable>;

interface Pending {
  promise: Promise<Matrix>;
  controller: AbortController;
  waiting: number;
}

/** The page's one reader of tensors. Equal requests share one answer, and one that nobody waits for is cancelled. */
export class MatrixReader {
  readonly #cache = new ByteLru<Matrix>(CACHE_BYTES, (matrix) => matrix.values.byteLength);
  readonly #stores = new Map<string, Promise<OpenStore>>();
  readonly #pending = new Map<string, Pending>();

  /** A level past the last one stands for the last one. */
  async read(address: MatrixAddress, signal: AbortSignal): Promise<Matrix> {
    signal.throwIfAborted();
    const key = JSON.stringify([keyOf(address.store), address.name, address.level]);
    const cached = this.#cache.get(key);
    if (cached) return cached;
    let pending = this.#pending.get(key);
    const forget = () => {
      if (this.#pending.get(key) === pending) this.#pending.delete(key);
    };
    if (!pending) {
      const controller = new AbortController();
      const promise = this.#fetch(address, controller.signal).then((matrix) => {
        this.#cache.set(key, matrix);
        return matrix;
      });
      pending = { promise, controller, waiting: 0 };
      this.#pending.set(key, pending);
      promise.then(forget, forget);
    }
    return waitFor(pending, signal, forget);
  }

  async #fetch(address: MatrixAddress, signal: AbortSignal): Promise<Matrix> {
    const root = await this.#open(address.store);
    const group = await zarr.open.v3(root.resolve(address.name), { kind: "group", signal });
    const levels = typeof group.attrs.levels === "number" ? group.attrs.levels : 1;
    const level = Math.min(address.level, levels - 1);
    const array = await zarr.open.v3(group.resolve(String(level)), { kind: "array", signal });
    if (!array.is("float32")) throw new TypeError(`${address.name} is not stored as float32`);
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
      opened = openStore(store);
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

async function openStore(store: StoreAddress): Promise<OpenStore> {
  const path =
    store.kind === "recording"
      ? `/api/traces/${store.traceId}/zarr`
      : `/api/models/${pathOfId(store.modelId)}/zarr`;
  const fetching = new zarr.FetchStore(new URL(path, window.location.href), { fetch: fetchOrSayWhy });
  return zarr.open.v3(await zarr.withConsolidatedMetadata(fetching, { format: "v3" }), { kind: "group" });
}

async function fetchOrSayWhy(request: Request): Promise<Response> {
  try {
    return await fetch(request);
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new UnreachableError("the server cannot be reached", { cause: error });
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
