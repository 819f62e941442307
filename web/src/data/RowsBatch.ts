import i18next from "i18next";
import type { FrameRows, LiveFrame } from "../protocol/LiveFrame";
import { RefusedError } from "./fetchFromServer";
import type { RowsReference } from "./Source";

export interface RowsPlace {
  traceId: string;
  start: number;
  stop: number;
  level: number;
}

type ReadRows = (traceId: string, rows: RowsReference, signal: AbortSignal) => Promise<LiveFrame>;

interface Waiting {
  address: string;
  cells: number;
  signal: AbortSignal;
  resolve(rows: FrameRows): void;
  reject(reason: unknown): void;
}

/** Limits of one request for rows. The server allows as many tensors, and four times as many cells. */
export const MOST_CELLS = 2 ** 20;
const MOST_TENSORS = 64;

/** Asks for the same rows of many tensors in one request: those that are asked for at about the same time. */
export class RowsBatch {
  readonly #request: ReadRows;
  readonly #waiting = new Map<string, { place: RowsPlace; all: Waiting[] }>();

  constructor(request: ReadRows) {
    this.#request = request;
  }

  /** `cells` is about how many there will be. Rejects with the signal's reason. */
  read(place: RowsPlace, address: string, cells: number, signal: AbortSignal): Promise<FrameRows> {
    return new Promise((resolve, reject) => {
      const key = JSON.stringify(place);
      const batch = this.#waiting.get(key) ?? { place, all: [] };
      // Several may wait for the same tensor, whose rows hold all of its heads.
      const sizes = new Map(batch.all.map((each) => [each.address, each.cells]));
      const held = [...sizes.values()].reduce((sum, size) => sum + size, 0);
      const isFull =
        !sizes.has(address) && (sizes.size >= MOST_TENSORS || (held > 0 && held + cells > MOST_CELLS));
      if (isFull) this.#send(key);
      const into = isFull ? { place, all: [] } : batch;
      into.all.push({ address, cells, signal, resolve, reject });
      if (this.#waiting.has(key)) return;
      this.#waiting.set(key, into);
      setTimeout(() => this.#waiting.get(key) === into && this.#send(key));
    });
  }

  #send(key: string): void {
    const batch = this.#waiting.get(key);
    this.#waiting.delete(key);
    if (batch) void this.#fetch(batch.place, batch.all);
  }

  async #fetch({ traceId, ...rows }: RowsPlace, all: Waiting[]): Promise<void> {
    const controller = new AbortController();
    let left = all.length;
    for (const { signal, reject } of all) {
      const leave = () => {
        reject(signal.reason);
        left -= 1;
        // The request goes on as long as anybody waits for it.
        if (left === 0) controller.abort();
      };
      if (signal.aborted) leave();
      else signal.addEventListener("abort", leave, { once: true });
    }
    try {
      const addresses = [...new Set(all.map(({ address }) => address))];
      const { arrays } = await this.#request(traceId, { ...rows, addresses }, controller.signal);
      const found = new Map(arrays.map((array) => [array.address, array]));
      for (const { address, resolve, reject } of all) {
        const array = found.get(address);
        if (array) resolve(array);
        else reject(new Error(i18next.t("files.leftOut", { address })));
      }
    } catch (error) {
      const addresses = new Set(all.map(({ address }) => address));
      // One that the server refuses must not take the others with it.
      if (addresses.size > 1 && error instanceof RefusedError && error.status < 500) {
        for (const one of addresses) {
          const own = all.filter(({ address }) => address === one);
          void this.#fetch({ traceId, ...rows }, own);
        }
        return;
      }
      for (const { reject } of all) reject(error);
    }
  }
}
