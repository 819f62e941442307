import { ArrivalBatch } from "../data/ArrivalBatch";
import { RefusedError } from "../data/fetchFromServer";
import type { Rows } from "../data/HeldRows";
import { LiveSocket } from "../data/LiveSocket";
import { type Job, MatrixQueue } from "../data/MatrixQueue";
import { MatrixReader, type SiteShape } from "../data/MatrixReader";
import type { StoreAddress, StoreSource } from "../data/Source";
import type { Cell } from "../layout/Cell";
import { isShape } from "../layout/expandShape";
import { hasLeads } from "../layout/leads";
import type { Matrix } from "../layout/Matrix";
import { isTokenAxis } from "../protocol/isTokenAxis";
import type { LiveFrame } from "../protocol/LiveFrame";
import type { Site, TraceState } from "../protocol/schema.generated";
import type { Scene } from "../scene/Scene";
import type { Wanted } from "../scene/Wanted";
import type { AppStore } from "../state/createAppStore";
import { findSite, findWeight, isEnded } from "../state/selectors";
import { sharedPrefix, sharedRows } from "../state/sharedPrefix";
import { describeFailure } from "./describeFailure";
import { Pictured } from "./Pictured";
import { whenBack } from "./whenBack";

/** As often as a screen shows a frame; a fast model takes several steps in that time. */
const FRAME_BATCH_MS = 16;
/** How often rows are read from the store while they come by no socket. */
const CATCH_UP_MS = 1_000;
/** How long to wait for the last rows of a text: they come by the socket, and that it has ended by an event. */
const LAST_FRAME_MS = 2_000;

/** Matrices as of so many positions, or the missing rows of all matrices of a tensor that the scene already has. */
type Arrival = { matrices: Matrix[]; positions: number } | { name: string; added: Rows[] };
type RecordingAddress = Extract<StoreAddress, { kind: "recording" }>;

/** All heads of a tensor with at most so many cells are read together, in one request with others. */
const TOGETHER_CELLS = 1 << 17;

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
  /** What each job brings, and what failed, as the scene was told. */
  readonly #names = new Map<string, Pick<Wanted, "name" | "lead">>();
  #failed = "";
  /** Jobs that brought more than the scene had room for. */
  readonly #crowded = new Set<string>();
  readonly #pictured = new Pictured();

  constructor(store: AppStore, source: StoreSource, scene: () => Scene, onArrival: () => void) {
    this.reader = new MatrixReader(source);
    this.#store = store;
    this.#scene = scene;
    this.#onArrival = onArrival;
    this.#queue = new MatrixQueue<Arrival>({
      onResult: (key, arrival) => {
        this.#deliver(key, arrival);
        this.#noteFailures();
      },
      onFailure: (_key, error) => {
        describeFailure(store, error);
        this.#noteFailures();
        onArrival();
      },
      // One that cannot be reached is asked again as soon as it answers, by `whenBack`.
      mayPass: (error) => error instanceof RefusedError && (error.status >= 500 || error.status === 429),
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
    // There may be room now: what is no longer wanted makes way.
    this.#queue.again(this.#crowded);
    this.#crowded.clear();
    this.#pictured.want(wanted);
    this.#ask();
  }

  /** The model on screen is another one. */
  forgetModel(): void {
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
    this.#pictured.clear();
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
    this.#pictured.clear();
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
    // What is on its way is the last recording's, also where this one asks for the same by the same key.
    if (trace?.id !== this.#shown?.id) this.#queue.abandon();
    this.reader.rows.turnTo(trace?.id ?? "", kept);
    const goesOn =
      this.#shown && isEnded(this.#shown) && sharedPrefix(this.#shown, trace) >= this.#shown.tokens.length;
    if (kept === 0) this.#pictured.clear();
    else this.#pictured.keep(kept, !goesOn);
    this.#shown = trace;
    this.#keptCount = kept;
    this.#replacedTo = 0;
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
  valueAt(cell: Cell): number | null {
    return this.reader.valueAt(cell) ?? this.#scene().valueAt(cell);
  }

  #ask(): void {
    const { trace, anatomy, activity } = this.#store.getState();
    // Of a shape there are no values anywhere. Right after a change of model the scene still names tensors of the last one.
    const wanted = this.#wanted.filter(
      ({ name, kind }) =>
        !isShape(anatomy) &&
        (kind === "weight" ? findWeight(anatomy, name) : findSite(anatomy, name)) !== null,
    );
    this.#names.clear();
    const jobs = new Map<string, Job<Arrival>>();
    // All heads of a tensor have the level of the nearest.
    const finest = new Map<string, number>();
    for (const { name, level } of wanted) finest.set(name, Math.min(level, finest.get(name) ?? level));
    for (const one of wanted) {
      const job =
        one.kind === "weight" ? this.#weightJob(one) : this.#siteJob(one, finest.get(one.name) ?? one.level);
      // Several heads of a tensor may be one job.
      if (job && !jobs.has(job.key)) jobs.set(job.key, job);
    }
    this.#queue.want([...jobs.values()]);
    this.#noteFailures();
    if (trace && (activity === "generating" || activity === "stopping")) {
      const addresses = wanted.filter((each) => each.kind === "site").map((each) => each.name);
      this.#live.subscribe(trace.id, addresses);
    } else {
      this.#live.close();
    }
  }

  #weightJob(wanted: Wanted): Job<Arrival> | null {
    const { anatomy } = this.#store.getState();
    if (!anatomy) return null;
    const store = { kind: "weights", modelId: anatomy.model_id } as const;
    if (!this.reader.holds(store)) return null;
    const key = `weights ${anatomy.model_id} ${keyOf(wanted)}`;
    this.#names.set(key, wanted);
    const read = async (signal: AbortSignal) => ({
      matrices: [await this.reader.read({ store, ...wanted }, signal)],
      positions: 0,
    });
    return { key, read };
  }

  /** `finest` is the finest level wanted of any matrix of the tensor. */
  #siteJob(wanted: Wanted, finest: number): Job<Arrival> | null {
    const site = findSite(this.#store.getState().anatomy, wanted.name);
    // While a new recording has no positions yet, the one before it is still read.
    if (!this.#shown || this.#askedAt === 0 || !site) return null;
    const { name, part } = wanted;
    const isPictured = this.reader.readsRows && this.#pictured.has(wanted, leadCount(site));
    // What comes near while a text is written is read as far as that goes.
    const positions = isPictured || part ? this.#askedAt : this.#written(this.#shown);
    const store = { kind: "recording", traceId: this.#shown.id, positions } as const;
    const shape = site.shape.map((size) => size ?? positions);
    if (isPictured) return this.#fillJob(store, { name, axes: site.axes, shape });
    const isTogether =
      !part &&
      this.reader.readsRows &&
      isTokenAxis(site.axes.at(-2)) &&
      shape.reduce((product, size) => product * size, 1) <= TOGETHER_CELLS * 4 ** finest;
    const one = isTogether ? { ...wanted, lead: undefined, level: finest } : wanted;
    const key = `recording ${this.#epoch} ${keyOf(one)} ${this.#pictured.times(name)}`;
    this.#names.set(key, one);
    if (isTogether) {
      const read = (signal: AbortSignal) =>
        this.#readTogether(store, { name, axes: site.axes, shape }, one, signal);
      return { key, isLight: true, read };
    }
    const held = clipped(one, positions, site.axes);
    if (!held) return null;
    const read = async (signal: AbortSignal) => ({
      matrices: [await this.reader.read({ store, ...held }, signal)],
      positions,
    });
    return { key, read };
  }

  /** How many positions of the recording on screen can be read. */
  #written({ id }: TraceState): number {
    const { trace } = this.#store.getState();
    return Math.max(this.#askedAt, trace?.id === id ? trace.positions : 0);
  }

  /** The rows that what is drawn of a tensor lacks; null where it lacks none. */
  #fillJob(store: RecordingAddress, site: SiteShape): Job<Arrival> | null {
    const { name } = site;
    const gaps = this.#pictured.gaps(name, store.positions);
    if (gaps.length === 0) return null;
    const key = `recording ${this.#epoch} rows ${name} ${gaps.join()}`;
    this.#names.set(key, { name });
    const read = async (signal: AbortSignal) => ({
      name,
      added: await this.reader.readRows(store, site, gaps, signal),
    });
    return { key, isLight: true, read };
  }

  async #readTogether(
    store: RecordingAddress,
    site: SiteShape,
    { name, level }: Wanted,
    signal: AbortSignal,
  ): Promise<Arrival> {
    const found = await this.reader.readTogether(store, site, level, signal);
    const matrices = found ?? [await this.reader.read({ store, name, level }, signal)];
    return { matrices, positions: store.positions };
  }

  #deliver(key: string, arrival: Arrival): void {
    if ("added" in arrival) {
      this.#append(arrival.name, arrival.added);
    } else {
      for (const matrix of arrival.matrices) {
        const { address, level, lead, part, shape } = matrix;
        const isWhole = this.#scene().setMatrix(matrix);
        if (!isWhole) this.#crowded.add(key);
        if (part || arrival.positions === 0) continue;
        if (isWhole) this.#pictured.take(matrix, arrival.positions);
        // Rows that came live while the matrix was being read are newer.
        const stop = level === 0 ? (shape.at(-2) ?? 0) : arrival.positions;
        this.#append(address, this.reader.rowsAfter(matrix, stop), lead);
      }
    }
    this.#onArrival();
  }

  /** The scene crosses out what could not be read. */
  #noteFailures(): void {
    const failed = [...this.#queue.failed].join();
    if (failed === this.#failed) return;
    this.#failed = failed;
    this.#scene().setFailed([...this.#queue.failed].flatMap((key) => this.#names.get(key) ?? []));
  }

  #append(address: string, added: readonly Rows[], lead?: number): void {
    for (const { start, stop, shape, values } of added) {
      if (stop - start !== shape.at(-2)) continue;
      this.#scene().appendRows(address, start, stop, values, lead);
      this.#pictured.add(address, start, stop, lead);
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
        const rows = { start, stop, shape, values, positions: stop };
        this.reader.addRows(trace.id, { name: address, axes }, 0, rows, true);
        this.#append(address, [rows]);
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

const keyOf = ({ name, level, lead, part }: Wanted) => {
  const place = part ? ` ${part.row} ${part.column}` : "";
  return `${level} ${name} ${lead ?? ""}${place}`;
};

/** How many matrices a tensor has that are drawn one by one. */
function leadCount({ axes, shape }: Pick<Site, "axes" | "shape">): number {
  return hasLeads(axes) ? (shape[0] ?? 1) : 1;
}

/** A part without what is not recorded yet; null where nothing of it is. */
function clipped(wanted: Wanted, positions: number, axes: readonly string[]): Wanted | null {
  const { part, level } = wanted;
  if (!part) return wanted;
  const recorded = Math.ceil(positions / 2 ** level);
  const rows = isTokenAxis(axes.at(-2)) ? Math.min(part.rows, recorded - part.row) : part.rows;
  const columns = isTokenAxis(axes.at(-1)) ? Math.min(part.columns, recorded - part.column) : part.columns;
  return rows > 0 && columns > 0 ? { ...wanted, part: { ...part, rows, columns } } : null;
}
