import { ArrivalBatch } from "../data/ArrivalBatch";
import { LiveSocket } from "../data/LiveSocket";
import { type Job, MatrixQueue } from "../data/MatrixQueue";
import { MatrixReader } from "../data/MatrixReader";
import type { Rows } from "../data/RecordedRows";
import type { StoreAddress, StoreSource } from "../data/Source";
import { valueAtIndex } from "../data/valueAtIndex";
import type { Cell } from "../layout/Cell";
import type { Matrix } from "../layout/Matrix";
import type { LiveFrame } from "../protocol/LiveFrame";
import type { TraceState } from "../protocol/schema.generated";
import type { Scene } from "../scene/Scene";
import type { Wanted } from "../scene/Wanted";
import type { AppStore } from "../state/createAppStore";
import { findSite, findWeight, isEnded } from "../state/selectors";
import { sharedPrefix, sharedRows } from "../state/sharedPrefix";
import { describeFailure } from "./describeFailure";
import { whenBack } from "./whenBack";

/** As often as a screen shows a frame; a fast model takes several steps in that time. */
const FRAME_BATCH_MS = 16;
/** How often rows are read from the store while they come by no socket. */
const CATCH_UP_MS = 1_000;
/** The last frame of a text comes by another way than the word that it has ended: it is waited for. */
const LAST_FRAME_MS = 2_000;

/** A whole tensor, or the rows of one that the scene has the rest of. */
type Arrival = Matrix | { address: string; added: Rows[] };

/**
 * Carries tensors to the scene: what it wants from the store, and the rows of each step while a recording grows. Where a
 * recording begins like the one before it, what is known stays, and the rest alone is asked for.
 */
export class Tensors {
  readonly reader: MatrixReader;
  readonly #store: AppStore;
  readonly #scene: () => Scene;
  readonly #onArrival: () => void;
  readonly #queue: MatrixQueue<Arrival>;
  readonly #frames = new ArrivalBatch<LiveFrame>(FRAME_BATCH_MS, (frames) => this.#takeFrames(frames));
  readonly #live = new LiveSocket((frame) => this.#frames.add(frame));
  readonly #weights = new Map<string, Matrix>();
  #wanted: Wanted[] = [];
  #catchUpTimer: ReturnType<typeof setTimeout> | undefined;
  /** The recording whose rows are known, and how many positions it had when it was last asked about. */
  #shown: TraceState | null = null;
  #askedAt = 0;
  /** Whether rows are missing that can wait until all has been written. */
  #owes = false;
  /** How many of its positions were known before it. */
  #keptCount = 0;
  /** How far the live rows of a recording have come. */
  #heard: { traceId: string; stop: number; timer: ReturnType<typeof setTimeout> | undefined } = {
    traceId: "",
    stop: 0,
    timer: undefined,
  };
  /** Frames of a recording that has not said yet what it begins with. */
  #early: LiveFrame[] = [];
  /** Up to here live rows are from before the server replaced them all, or are read from the store. */
  #replacedTo = 0;
  /** Goes up when sites have to be asked for anew. */
  #epoch = 0;
  /** Tensors that the scene has, by name and level. */
  readonly #delivered = new Set<string>();

  constructor(store: AppStore, source: StoreSource, scene: () => Scene, onArrival: () => void) {
    this.reader = new MatrixReader(source);
    this.#store = store;
    this.#scene = scene;
    this.#onArrival = onArrival;
    this.#queue = new MatrixQueue<Arrival>({
      onResult: (_key, arrival) => this.#deliver(arrival),
      onFailure: (_key, error) => {
        describeFailure(store, error);
        onArrival();
      },
    });
    whenBack(store, () => this.#queue.retry());
  }

  /** Whether everything that is wanted has come, as far as it can. */
  get isComplete(): boolean {
    return this.#queue.waiting === 0;
  }

  /** Whether some of its prompt was not known before it. */
  get isNew(): boolean {
    return this.#keptCount < (this.#shown?.prompt_count ?? 0) - 1;
  }

  want(wanted: Wanted[]): void {
    this.#wanted = wanted;
    const keys = new Set(wanted.map(keyOf));
    // What fell out may have been dropped by the scene too.
    for (const key of this.#delivered) if (!keys.has(key)) this.#delivered.delete(key);
    this.#ask();
  }

  /** The model on screen is another one. */
  forgetModel(): void {
    this.#weights.clear();
    this.#turnTo(null, 0);
    this.refreshRecording();
  }

  /** The recording on screen is another one, has its prompt recorded, or has ended: read what is not here yet. */
  refreshRecording(): void {
    // First: whoever hears of the frames asks for more, and must not be given what was replaced.
    this.#noteReplaced(this.#store.getState().trace);
    this.#frames.flush();
    const { trace } = this.#store.getState();
    // What a recording has taken over comes with its first positions; until then the one before it stands for it.
    const isAwaited = trace?.positions === 0 && sharedPrefix(this.#shown, trace) > 0;
    if (trace?.id === this.#shown?.id) {
      this.#shown = trace;
      if (this.#awaitsLastFrame()) return;
      if (trace && trace.positions !== this.#askedAt) this.#askAnew(trace);
    } else if (!isAwaited) {
      this.#turnTo(trace, trace ? sharedRows(this.#shown, trace) : 0);
    }
    if (this.#owes && this.#shown && isEnded(this.#shown)) this.#askAnew(this.#shown);
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
    this.#delivered.clear();
    this.#queue.forget();
  }

  /** Whether the last rows are still on their way; asks again when they have come, or when none comes any more. */
  #awaitsLastFrame(): boolean {
    const trace = this.#shown;
    const isAwaited =
      trace !== null &&
      isEnded(trace) &&
      this.#live.isOpen &&
      this.#heard.traceId === trace.id &&
      this.#heard.stop < trace.positions;
    if (!isAwaited) return false;
    clearTimeout(this.#heard.timer);
    this.#heard.timer = setTimeout(() => {
      this.#heard = { traceId: "", stop: 0, timer: undefined };
      this.refreshRecording();
    }, LAST_FRAME_MS);
    return true;
  }

  /** Where the server has read the whole text anew, nothing that is known of the recording holds any more. */
  #noteReplaced(trace: TraceState | null): void {
    const shown = this.#shown;
    if (!trace || trace.id !== shown?.id || (trace.rewritten ?? 0) <= (shown.rewritten ?? 0)) return;
    this.reader.forgetRows(trace.id);
    this.#delivered.clear();
    this.#shown = trace;
    this.#replacedTo = trace.positions;
    this.#askAnew(trace);
  }

  #askAnew(trace: TraceState): void {
    this.#epoch += 1;
    this.#askedAt = trace.positions;
    this.#owes = false;
  }

  #turnTo(trace: TraceState | null, kept: number): void {
    this.reader.rows.turnTo(trace?.id ?? "", kept);
    this.#shown = trace;
    this.#keptCount = kept;
    this.#replacedTo = 0;
    if (kept === 0) this.#delivered.clear();
    if (trace && kept >= trace.prompt_count - 1) {
      // The last token of a prompt is always read again: that row comes live, or with the rest when all is written.
      this.#askedAt = trace.positions;
      this.#owes = true;
    } else if (trace) {
      this.#askAnew(trace);
    } else {
      this.#askedAt = 0;
    }
    const early = this.#early;
    this.#early = [];
    if (trace) this.#takeFrames(early);
  }

  /** The cell's value if it is on the page already. */
  valueAt({ address, index }: Cell): number | null {
    const weight = this.#weights.get(address);
    return weight
      ? valueAtIndex(weight.values, weight.shape, index)
      : this.reader.rows.valueAt(address, index);
  }

  #ask(): void {
    const { trace, anatomy, activity } = this.#store.getState();
    // Right after a change of model the scene still wants what the last one had.
    const wanted = this.#wanted.filter(
      ({ name, kind }) => (kind === "weight" ? findWeight(anatomy, name) : findSite(anatomy, name)) !== null,
    );
    // What is known of the recording before stays wanted while this one has nothing yet.
    const shown = this.#shown;
    this.#queue.want(
      wanted.flatMap((one): Job<Arrival>[] => {
        const { name, kind, level } = one;
        if (kind === "weight") {
          if (!anatomy) return [];
          const store = { kind: "weights", modelId: anatomy.model_id } as const;
          if (!this.reader.holds(store)) return [];
          const key = `weights ${anatomy.model_id} ${name} ${level}`;
          return [{ key, read: (signal) => this.reader.read({ store, name, level }, signal) }];
        }
        if (!shown || this.#askedAt === 0) return [];
        const store = { kind: "recording", traceId: shown.id, positions: this.#askedAt } as const;
        const key = `recording ${this.#epoch} ${keyOf(one)}`;
        const isLight = level === 0 && this.#delivered.has(keyOf(one));
        return [{ key, isLight, read: (signal) => this.#read(store, one, signal) }];
      }),
    );
    if (trace && (activity === "generating" || activity === "stopping")) {
      const addresses = wanted.filter((each) => each.kind === "site").map((each) => each.name);
      this.#live.subscribe(trace.id, addresses);
    } else {
      this.#live.close();
    }
  }

  async #read(store: StoreAddress, wanted: Wanted, signal: AbortSignal): Promise<Arrival> {
    const { name, level } = wanted;
    if (level === 0 && this.#delivered.has(keyOf(wanted))) {
      const added = await this.reader.fill({ store, name, level }, signal);
      if (added) return { address: name, added };
    }
    const matrix = await this.reader.read({ store, name, level }, signal);
    signal.throwIfAborted();
    this.#delivered.add(keyOf(wanted));
    return matrix;
  }

  #deliver(arrival: Arrival): void {
    const { address } = arrival;
    const { anatomy } = this.#store.getState();
    if ("added" in arrival) {
      this.#append(address, arrival.added);
    } else {
      if (arrival.level === 0 && findWeight(anatomy, address)) this.#weights.set(address, arrival);
      this.#scene().setMatrix(arrival);
      // Rows that came live while the matrix was on its way are newer than it is.
      if (arrival.level === 0)
        this.#append(address, this.reader.rows.after(address, arrival.shape.at(-2) ?? 0));
    }
    this.#onArrival();
  }

  #append(address: string, added: readonly Rows[]): void {
    for (const { start, stop, shape, values } of added) {
      if (stop - start === shape.at(-2)) this.#scene().appendRows(address, start, stop, values);
    }
  }

  #takeFrames(frames: LiveFrame[]): void {
    const { trace, anatomy } = this.#store.getState();
    const own = frames.filter((frame) => frame.traceId === trace?.id);
    if (!trace || own.length === 0) return;
    if (trace.id !== this.#shown?.id) {
      this.#early.push(...own);
      return;
    }
    const positions = Math.max(...own.map((frame) => frame.stop));
    if (positions > trace.positions) this.#store.setState({ trace: { ...trace, positions } });
    for (const { start, stop, arrays } of own) {
      if (stop <= this.#replacedTo) continue;
      for (const { address, shape, values } of arrays) {
        const axes = findSite(anatomy, address)?.axes ?? [];
        this.reader.rows.add(trace.id, address, axes, 0, { start, stop, shape, values, positions: stop });
        this.#scene().appendRows(address, start, stop, values);
      }
    }
    if (this.#heard.traceId !== trace.id) this.#heard = { traceId: trace.id, stop: 0, timer: undefined };
    this.#heard.stop = Math.max(this.#heard.stop, positions);
    if (this.#heard.timer !== undefined) {
      clearTimeout(this.#heard.timer);
      this.#heard.timer = undefined;
      this.refreshRecording();
    }
    this.#onArrival();
  }
}

const keyOf = ({ name, level }: Wanted) => `${level} ${name}`;
