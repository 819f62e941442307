import i18next from "i18next";
import { CountLru } from "../data/CountLru";
import { isAbort } from "../data/fetchFromServer";
import type { Source } from "../data/Source";
import type { Effects, Reading } from "../protocol/schema.generated";
import { type AppState, EMPTY } from "../state/AppState";
import type { AppStore } from "../state/createAppStore";
import { type Decision, decisionOf } from "../state/decision";
import { effectPieces, mergeEffects } from "../state/mergeEffects";
import { isSettled, shownPosition } from "../state/selectors";
import { sharedPrefix } from "../state/sharedPrefix";
import { watchState } from "../state/watchState";
import { describeFailure } from "./describeFailure";
import { LivePace } from "./LivePace";
import { whenBack } from "./whenBack";

/** Somebody who runs along the text asks for the places where they stop. */
const DEBOUNCE_MS = 30;
/** After such a pause somebody who asks does not run. */
const PAUSE_MS = 200;
const KEPT_DECISIONS = 32;
const NONE_OFF: readonly string[] = [];

/** What is known of one decision, and what is still to be tested. */
interface Known {
  /** "none": an export holds no reading of this position. */
  reading: Reading | "none" | null;
  effects: Effects | null;
  left: string[];
}

/** The document, as far as it tells whether somebody sees it. */
export type SeenDocument = Pick<Document, "hidden" | "addEventListener">;

/**
 * Keeps what mattered at the shown position: the reading, then its effects as they are tested, the words of the text
 * first and then the blocks from the last upward. While a text is written only readings are asked for, and few. For who
 * steps from token to token the next reading is fetched ahead. A decision that is asked for again is not fetched again;
 * nothing is fetched while nobody sees the page.
 */
export function watchReading(store: AppStore, source: Source, page: SeenDocument): void {
  const known = new CountLru<Known>(KEPT_DECISIONS);
  let current: { key: string; traceId: string; controller: AbortController } | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isTimerLive = false;
  const pace = new LivePace();
  let asked = { key: "", atMs: Number.NEGATIVE_INFINITY, waitMs: 0 };
  /** By how many tokens the shown position last moved. */
  let step = 0;
  let ahead: { key: string; controller: AbortController; ended: Promise<void> } | null = null;

  function isUnseen(): boolean {
    return page.hidden || store.getState().sceneState === "resting";
  }

  /** Puts what is known of the asked decision on screen, and fetches the rest of it. */
  function start(): void {
    const state = store.getState();
    const decision = decisionOf(state);
    const key = keyOf(state);
    const settled = isSettled(state);
    // Tokens come faster than a reading may: the one that is due is of the newest then.
    if (settled || !isTimerLive) {
      clearTimeout(timer);
      isTimerLive = false;
    }
    if (current && current.key === key) return;
    // What is under way for a text that is being written is shown too: it would else never be there in time.
    if (current && (settled || current.traceId !== decision?.traceId)) {
      current.controller.abort();
      current = null;
    }
    const found = key === null ? undefined : known.get(key);
    if (found && key !== null) show(found, key);
    if (!decision || key === null || current || isUnseen()) return;
    if (isComplete(found, settled)) {
      if (settled && !state.forgotten) readAhead(state);
      return;
    }
    if (state.forgotten) {
      fail(key, new Error(i18next.t("connection.unkept")));
      return;
    }
    if (!settled && isTimerLive) return;
    if (key !== asked.key) {
      const atMs = performance.now();
      asked = { key, atMs, waitMs: atMs - asked.atMs > PAUSE_MS ? 0 : DEBOUNCE_MS };
    }
    const wait = settled ? asked.waitMs : Math.max(DEBOUNCE_MS, pace.waitMs);
    isTimerLive = !settled;
    timer = setTimeout(() => {
      isTimerLive = false;
      const newest = decisionOf(store.getState());
      const newestKey = keyOf(store.getState());
      if (newest && newestKey !== null) void fetchAll(newest, newestKey);
    }, wait);
  }

  async function fetchAll(decision: Decision, key: string): Promise<void> {
    const own = { key, traceId: decision.traceId, controller: new AbortController() };
    current = own;
    const answered = pace.begin();
    let failed = false;
    try {
      await fetchRest(decision, key, own.controller.signal);
    } catch (error) {
      failed = true;
      if (!own.controller.signal.aborted && !isAbort(error)) fail(key, error);
    }
    if (current !== own) return;
    current = null;
    answered();
    // A failure waits for another question, or for the server to be back.
    if (!failed || keyOf(store.getState()) !== key) start();
  }

  async function fetchRest(decision: Decision, key: string, signal: AbortSignal): Promise<void> {
    if (ahead && ahead.key !== key) ahead.controller.abort();
    await ahead?.ended;
    const entry = known.get(key) ?? nothingKnown();
    if (!entry.reading) {
      entry.reading = (await source.readReading(decision, signal)) ?? "none";
      known.set(key, entry);
    }
    if (!signal.aborted) show(entry, key);
    const goesOn = () =>
      !signal.aborted && !isUnseen() && isSettled(store.getState()) && keyOf(store.getState()) === key;
    while (entry.reading !== "none" && entry.left.length > 0 && goesOn()) {
      const piece = await source.readEffects(decision, entry.left[0] ?? "", signal);
      entry.effects = piece ? mergeEffects(entry.effects, piece) : entry.effects;
      entry.left = piece ? entry.left.slice(1) : [];
      if (!signal.aborted) show(entry, key);
    }
  }

  /** Reads the next token of a text that somebody steps through, so that its reading is there when they come to it. */
  function readAhead(state: AppState): void {
    const position = (shownPosition(state) ?? 0) + step;
    const next: AppState = { ...state, position, versus: "mean" };
    const [decision, key] = [decisionOf(next), keyOf(next)];
    const isThere = position >= 0 && position < (state.trace?.positions ?? 0);
    if (Math.abs(step) !== 1 || !isThere || !decision || key === null || known.get(key) || ahead) return;
    const controller = new AbortController();
    const read = async () => {
      try {
        const reading = (await source.readReading(decision, controller.signal)) ?? "none";
        known.set(key, { ...nothingKnown(), reading });
      } catch {
        // It is asked for, and its failure told, when somebody comes there.
      }
      ahead = null;
    };
    ahead = { key, controller, ended: read() };
  }

  function nothingKnown(): Known {
    const blockCount = store.getState().anatomy?.blocks.length ?? 0;
    return { reading: null, effects: null, left: effectPieces(blockCount) };
  }

  function show({ reading, effects, left }: Known, key: string): void {
    const state = store.getState();
    if (reading === "none" || reading === null) {
      store.setState({ reading: EMPTY, effects: EMPTY });
      return;
    }
    const isAsked = keyOf(state) === key;
    const testing = left.length === 0 ? "ready" : isSettled(state) ? "loading" : "empty";
    store.setState({
      reading: { status: isAsked ? "ready" : "loading", value: reading, error: null },
      effects: { status: testing, value: effects, error: null },
    });
  }

  function fail(key: string, error: unknown): void {
    const message = describeFailure(store, error);
    if (keyOf(store.getState()) !== key) return;
    // What was read stays; what is missing is said to be.
    if (known.get(key)?.reading) {
      store.setState(({ effects }) => ({ effects: { ...effects, status: "failed", error: message } }));
    } else {
      store.setState({ reading: { status: "failed", value: null, error: message }, effects: EMPTY });
    }
  }

  watchState(
    store,
    (state) => [state.trace?.id, state.position],
    ({ off, versus }, previous) => {
      // Another decision is held against nothing and has all its parts, unless a link says so of it.
      const isTold = off !== previous.off || versus !== previous.versus;
      step = (shownPosition(store.getState()) ?? 0) - (shownPosition(previous) ?? 0);
      store.setState({ ride: null, ...(isTold ? {} : { off: NONE_OFF, versus: "mean" }) });
    },
  );
  watchState(
    store,
    (state) => [keyOf(state), isSettled(state), state.sceneState === "resting"],
    (state, previous) => {
      const { value } = state.reading;
      const isOfText = value !== null && sharedPrefix(previous.trace, state.trace) > value.position;
      if (keyOf(state) === null || (value && !isOfText)) store.setState({ reading: EMPTY, effects: EMPTY });
      if (keyOf(state) !== null && keyOf(state) !== keyOf(previous)) {
        store.setState((now) => ({ reading: { ...now.reading, status: "loading", error: null } }));
      }
      start();
    },
  );
  whenBack(store, start);
  page.addEventListener("visibilitychange", start);
}

/** Names a decision, and all that its reading depends on; null where there is none. */
function keyOf(state: AppState): string | null {
  const decision = decisionOf(state);
  if (!decision) return null;
  const { traceId, position, versus } = decision;
  // The token that follows is the one that is explained, and rows can be read anew.
  const follows = state.trace?.tokens[position + 1]?.id ?? "";
  return [traceId, state.trace?.rewritten ?? 0, position, follows, versus].join(" ");
}

function isComplete(found: Known | undefined, settled: boolean): boolean {
  if (!found?.reading) return false;
  return found.reading === "none" || !settled || found.left.length === 0;
}
