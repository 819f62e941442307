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
/** How long to wait for the last rows of a text: they come by the socket, and that it has ended by an event. */
const LAST_FRAME_MS = 2_000;

/** A whole tensor, or the missing rows of one that the scene already has. */
type Arrival = Matrix | { address: string; added: Rows[] };

/**
 * Brings tensors to the scene: those that it wants from the store, and the new rows of each step while a recording
 * grows. Where a recording begins with the same tokens as the one before it, only the rows after those are read.
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
  /** The recording whose rows are held, and how many positions it had when its tensors were last asked for. */
  #shown: TraceState | null = null;
  #askedAt = 0;
  /** Whether rows are missing that will be read once the text has ended. */
  #owes = false;
  /** How many positions of `#shown` it shares with the recording before it. */
  #keptCount = 0;
  /** The recording that live rows come from, and the position after the newest of them. */
  #heard: { traceId: string; stop: number; timer: ReturnType<typeof setTimeout> | undefined } = {
    traceId: "",
    stop: 0,
    timer: undefined,
  };
  /** Live frames that came before it was known which rows their recording takes over. */
  #early: LiveFrame[] = [];
  /** Live rows before this position are ignored: the server has replaced them since, and the store has the new ones. */
  #replacedTo = 0;
  /** Part of the key of each site's job: a higher number makes the queue read all sites again. */
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

  /** Whether every tensor that is wanted has arrived or failed. */
  get isComplete(): boolean {
    return this.#queue.waiting === 0;
  }

  /** Whether part of the prompt on screen was not held before its recording was made. */
  get isNew(): boolean {
    return this.#keptCount < (this.#shown?.prompt_count ?? 0) - 1;
  }

  want(wanted: Wanted[]): void {
    this.#wanted = wanted;
    const keys = new Set(wanted.map(keyOf));
    // The scene may have dropped what it no longer wants.
    for (const key of this.#delivered) if (!keys.has(key)) this.#delivered.delete(key);
    this.#ask();
  }

  /** The model on screen is another one. */
  forgetModel(): void {
    this.#weights.clear();
    this.#turnTo(null, 0);
    this.refreshRecording();
  }

  /** Reads what is missing, after another recording was shown, its prompt was recorded, or it has ended. */
  refreshRecording(): void {
    // This comes first: the frames below make the scene ask for more, which must not be answered with old rows.
    this.#noteReplaced(this.#store.getState().trace);
    this.#frames.flush();
    const { trace } = this.#store.getState();
    // Which rows a recording has taken over is known with its first positions; until then the one before it is shown.
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

  /** Delivers everything again, to a new scene. */
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

  /** Forgets all rows of a recording whose text the server has read anew as a whole. */
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
    // Right after a change of model the scene still names tensors of the last one.
    const wanted = this.#wanted.filter(
      ({ name, kind }) => (kind === "weight" ? findWeight(anatomy, name) : findSite(anatomy, name)) !== null,
    );
    // While a new recording has no positions yet, the one before it is still read.
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
      // Rows that came live while the matrix was being read are newer.
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
