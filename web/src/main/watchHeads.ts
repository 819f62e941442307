import { CountLru } from "../data/CountLru";
import { LatestRequest } from "../data/LatestRequest";
import type { MatrixReader } from "../data/MatrixReader";
import type { Source } from "../data/Source";
import type { Heads, TraceState } from "../protocol/schema.generated";
import type { AppState, HeadPattern, HeadPlace } from "../state/AppState";
import type { AppStore } from "../state/createAppStore";
import { mergeHeads } from "../state/mergeHeads";
import { isSettled } from "../state/selectors";
import { watchState } from "../state/watchState";
import { describeFailure } from "./describeFailure";
import { whenBack } from "./whenBack";

/** Blocks of one request: the first rows of the grid are there soon, and others come between. */
const BLOCKS_AT_ONCE = 10;
/** Somebody who moves over the grid asks for the heads where they stop. */
const DEBOUNCE_MS = 60;
/** Of a long text the end is shown: so many tokens are read side by side, and a pattern of them is 256 KiB. */
const MOST_PATTERN_POSITIONS = 256;
const KEPT_PATTERNS = 24;

/** Keeps the scores of all heads, and the pattern of the one that is looked at, while somebody looks at them. */
export function watchHeads(store: AppStore, source: Source, reader: MatrixReader): void {
  const scores = new LatestRequest();
  const pattern = new LatestRequest(DEBOUNCE_MS);
  const patterns = new CountLru<HeadPattern>(KEPT_PATTERNS);
  /** The text that the scores in the store are of, when all of them are. */
  let known: string | null = null;

  async function refreshScores(): Promise<void> {
    const state = store.getState();
    const { trace, headsWanted } = state;
    scores.cancel();
    if (!trace || !headsWanted) return;
    const text = textOf(trace);
    const status = known === text ? "ready" : "loading";
    store.setState(({ heads }) => ({ heads: { ...heads, status, error: null } }));
    // A text that is still being written is read once, when it is there.
    if (status === "ready" || !isReadable(state)) return;
    known = null;
    try {
      const found = await scores.run((signal) => readAll(trace, state.anatomy?.blocks.length ?? 1, signal));
      if (found === null) return;
      known = text;
      store.setState({ heads: { status: "ready", value: found === "none" ? null : found, error: null } });
    } catch (error) {
      const message = describeFailure(store, error);
      store.setState(({ heads }) => ({ heads: { ...heads, status: "failed", error: message } }));
    }
  }

  async function readAll(trace: TraceState, count: number, signal: AbortSignal): Promise<Heads | "none"> {
    let merged: Heads | null = null;
    const isFirst = store.getState().heads.value === null;
    for (let first = 0; first < count; first += BLOCKS_AT_ONCE) {
      const last = Math.min(count, first + BLOCKS_AT_ONCE) - 1;
      const piece = await source.readHeads(trace.id, `${first}-${last}`, signal);
      if (piece === null) return "none";
      merged = mergeHeads(merged, piece);
      // Those of an earlier text stay until all are there: a grid that empties and fills says nothing.
      if (isFirst && !signal.aborted)
        store.setState({ heads: { status: "loading", value: merged, error: null } });
    }
    return merged ?? "none";
  }

  async function refreshPattern(): Promise<void> {
    const state = store.getState();
    const { shownHead, headPattern, headsWanted, trace } = state;
    pattern.cancel();
    if (!trace || !headsWanted || !shownHead || !isReadable(state)) return;
    const key = `${textOf(trace)} ${shownHead.block}.${shownHead.head}`;
    const kept = patterns.get(key);
    if (kept) {
      store.setState({ headPattern: { status: "ready", value: kept, error: null } });
      return;
    }
    store.setState({ headPattern: { ...headPattern, status: "loading", error: null } });
    try {
      const found = await pattern.run((signal) => readPattern(trace, shownHead, signal));
      if (found === null) return;
      if (found !== "coarse") patterns.set(key, found);
      const value = found === "coarse" ? null : found;
      store.setState({ headPattern: { status: "ready", value, error: null } });
    } catch (error) {
      const message = describeFailure(store, error);
      store.setState({ headPattern: { status: "failed", value: null, error: message } });
    }
  }

  async function readPattern(
    { id: traceId, positions }: TraceState,
    { block, head }: HeadPlace,
    signal: AbortSignal,
  ): Promise<HeadPattern | "coarse"> {
    const [start, stop] = [Math.max(0, positions - MOST_PATTERN_POSITIONS), positions];
    const address = { kind: "recording" as const, traceId, positions };
    const range = { start, stop };
    const values = await reader.readCells(address, `attn_probs.${block}`, [head, range, range], signal);
    return values === null ? "coarse" : { traceId, block, head, start, stop, values };
  }

  whenBack(store, () => {
    const { heads, headPattern } = store.getState();
    if (heads.status === "failed") void refreshScores();
    if (headPattern.status === "failed") void refreshPattern();
  });
  watchState(store, questionOf, () => void refreshScores());
  watchState(
    store,
    (state) => [...questionOf(state), state.shownHead],
    () => void refreshPattern(),
  );
}

/** Whether the recording on screen is all there; heads are read once it is. */
function isReadable(state: AppState): boolean {
  return isSettled(state) && (state.trace?.positions ?? 0) > 0;
}

function questionOf(state: AppState) {
  return [state.headsWanted, state.trace && textOf(state.trace), isReadable(state)] as const;
}

function textOf({ id, positions, rewritten }: TraceState): string {
  return `${id} ${positions} ${rewritten}`;
}
