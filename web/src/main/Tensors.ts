import { Batch } from "../data/Batch";
import { LiveSocket } from "../data/LiveSocket";
import { MatrixQueue } from "../data/MatrixQueue";
import { MatrixReader } from "../data/MatrixReader";
import type { StoreSource } from "../data/Source";
import type { Cell } from "../layout/Cell";
import type { Matrix } from "../layout/Matrix";
import type { Frame } from "../protocol/frames";
import type { Scene, Wanted } from "../scene/Scene";
import type { AppStore } from "../state/createAppStore";
import { findSite, findWeight } from "../state/selectors";
import { describeFailure } from "./describeFailure";

/** As often as a screen shows a frame; a fast model takes several steps in that time. */
const FRAME_BATCH_MS = 16;
/** How often rows are read from the store while they come by no socket. */
const CATCH_UP_MS = 1_000;

interface LiveRows {
  start: number;
  stop: number;
  shape: number[];
  values: Float32Array;
}

/** Carries tensors to the scene: what it wants from the store, and the rows of each step while a recording grows. */
export class Tensors {
  readonly reader: MatrixReader;
  readonly #store: AppStore;
  readonly #scene: () => Scene;
  readonly #onArrival: () => void;
  readonly #queue: MatrixQueue;
  readonly #frames = new Batch<Frame>(FRAME_BATCH_MS, (frames) => this.#takeFrames(frames));
  readonly #live = new LiveSocket((frame) => this.#frames.add(frame));
  readonly #exact = new Map<string, Matrix>();
  readonly #rows = new Map<string, LiveRows[]>();
  #wanted: Wanted[] = [];
  #catchUpTimer: ReturnType<typeof setTimeout> | undefined;
  /** How many positions the store had when the recording was last read, and which recording it was. */
  #read = { traceId: "", positions: 0 };
  /** Goes up when sites have to be read anew; those whose rows all came live keep theirs. */
  #epoch = 0;
  readonly #complete = new Map<string, number>();

  constructor(store: AppStore, source: StoreSource, scene: () => Scene, onArrival: () => void) {
    this.reader = new MatrixReader(source);
    this.#store = store;
    this.#scene = scene;
    this.#onArrival = onArrival;
    this.#queue = new MatrixQueue({
      onMatrix: (_key, matrix) => this.#deliver(matrix),
      onFailure: (_key, error) => {
        describeFailure(store, error);
        onArrival();
      },
    });
  }

  /** Whether everything that is wanted has come, as far as it can. */
  get isComplete(): boolean {
    return this.#queue.waiting === 0;
  }

  want(wanted: Wanted[]): void {
    this.#wanted = wanted;
    this.#ask();
  }

  /** The model on screen is another one. */
  forgetModel(): void {
    this.#exact.clear();
    this.#read = { traceId: "", positions: 0 };
    this.refreshRecording();
  }

  /** The recording on screen is another one, has its prompt recorded, or has ended: read what is not here yet. */
  refreshRecording(): void {
    this.#frames.flush();
    const { trace } = this.#store.getState();
    const now = { traceId: trace?.id ?? "", positions: trace?.positions ?? 0 };
    const before = this.#read;
    if (now.traceId !== before.traceId) {
      const { anatomy } = this.#store.getState();
      for (const name of this.#exact.keys()) if (!findWeight(anatomy, name)) this.#exact.delete(name);
      this.#rows.clear();
      this.#complete.clear();
      this.#epoch += 1;
    } else if (now.positions !== before.positions) {
      for (const { name, level } of this.#wanted) {
        const isComplete = level === 0 && this.#hasRows(name, before.positions, now.positions);
        if (isComplete && !this.#complete.has(name)) this.#complete.set(name, this.#epoch);
      }
      this.#epoch += 1;
    }
    this.#read = now;
    this.#ask();
  }

  /** While a text is written: reads what no socket brings, once the last reading is through. */
  catchUp(): void {
    this.#catchUpTimer ??= setTimeout(() => {
      this.#catchUpTimer = undefined;
      if (this.#live.isOpen) return;
      if (this.isComplete) this.refreshRecording();
      else this.catchUp();
    }, CATCH_UP_MS);
  }

  /** The scene is another one, which has nothing yet. */
  fillScene(): void {
    this.#queue.forget();
  }

  /** Whether every row of a range came live, without a gap. */
  #hasRows(name: string, start: number, stop: number): boolean {
    let reached = start;
    for (const rows of this.#rows.get(name) ?? []) {
      if (rows.start > reached) return false;
      reached = Math.max(reached, rows.stop);
    }
    return start > 0 && reached >= stop;
  }

  /** The cell's value if it is on the page already. */
  valueAt(cell: Cell): number | null {
    for (const rows of this.#rows.get(cell.address) ?? []) {
      const row = cell.index[cell.index.length - 2] ?? 0;
      if (row >= rows.start && row < rows.stop) {
        return readCell(rows.values, rows.shape, [
          ...cell.index.slice(0, -2),
          row - rows.start,
          cell.index.at(-1) ?? 0,
        ]);
      }
    }
    const matrix = this.#exact.get(cell.address);
    return matrix ? readCell(matrix.values, matrix.shape, cell.index) : null;
  }

  #ask(): void {
    const { trace, anatomy, activity } = this.#store.getState();
    // Right after a change of model the scene still wants what the last one had.
    const wanted = this.#wanted.filter(
      ({ name, kind }) => (kind === "weight" ? findWeight(anatomy, name) : findSite(anatomy, name)) !== null,
    );
    this.#queue.want(
      wanted.flatMap(({ name, kind, level }) => {
        if (kind === "weight") {
          if (!anatomy) return [];
          const store = { kind: "weights", modelId: anatomy.model_id } as const;
          if (!this.reader.holds(store)) return [];
          const key = `weights ${anatomy.model_id} ${name} ${level}`;
          return [{ key, read: (signal) => this.reader.read({ store, name, level }, signal) }];
        }
        if (!trace || trace.positions === 0) return [];
        const store = { kind: "recording", traceId: trace.id, positions: trace.positions } as const;
        const epoch = level === 0 ? (this.#complete.get(name) ?? this.#epoch) : this.#epoch;
        const key = `recording ${trace.id} ${epoch} ${name} ${level}`;
        return [{ key, read: (signal) => this.reader.read({ store, name, level }, signal) }];
      }),
    );
    if (trace && (activity === "generating" || activity === "stopping")) {
      const addresses = wanted.filter((each) => each.kind === "site").map((each) => each.name);
      this.#live.subscribe(trace.id, addresses);
    } else {
      this.#live.close();
    }
  }

  #deliver(matrix: Matrix): void {
    if (matrix.level === 0) this.#exact.set(matrix.address, matrix);
    this.#scene().setMatrix(matrix);
    // Rows that came live while the matrix was on its way are newer than it is.
    const read = matrix.shape.at(-2) ?? 0;
    for (const rows of this.#rows.get(matrix.address) ?? []) {
      if (rows.stop > read) this.#scene().appendRows(matrix.address, rows.start, rows.stop, rows.values);
    }
    this.#onArrival();
  }

  #takeFrames(frames: Frame[]): void {
    const { trace } = this.#store.getState();
    const own = frames.filter((frame) => frame.traceId === trace?.id);
    if (!trace || own.length === 0) return;
    const positions = Math.max(...own.map((frame) => frame.stop));
    if (positions > trace.positions) this.#store.setState({ trace: { ...trace, positions } });
    for (const { start, stop, arrays } of own) {
      for (const { address, shape, values } of arrays) {
        const rows = this.#rows.get(address);
        if (rows) rows.push({ start, stop, shape, values });
        else this.#rows.set(address, [{ start, stop, shape, values }]);
        this.#scene().appendRows(address, start, stop, values);
      }
    }
    this.#onArrival();
  }
}

function readCell(values: Float32Array, shape: number[], index: number[]): number | null {
  let offset = 0;
  for (const [axis, size] of shape.entries()) {
    const at = index[axis] ?? 0;
    if (at < 0 || at >= size) return null;
    offset = offset * size + at;
  }
  return values[offset] ?? null;
}
