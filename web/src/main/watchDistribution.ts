import type { Source } from "../data/Source";
import type { AppState } from "../state/AppState";
import type { AppStore } from "../state/createAppStore";
import { isSettled, shownPosition } from "../state/selectors";
import { sharedPrefix } from "../state/sharedPrefix";
import { watchState } from "../state/watchState";
import { describeFailure } from "./describeFailure";
import { LivePace } from "./LivePace";
import { whenBack } from "./whenBack";

/** Everything that the distribution depends on: it is asked for again as soon as one of these changes. */
function questionOf(state: AppState) {
  const position = shownPosition(state);
  return [
    state.trace?.id,
    state.trace?.rewritten,
    position,
    // The token that follows the shown position is lit in the distribution, so its arrival changes the answer.
    state.trace?.tokens[(position ?? 0) + 1]?.id,
    state.sampling,
  ] as const;
}

/** What is being asked. */
interface Asked {
  traceId: string;
  /** Somebody waits for it; else it only follows a text that is being written. */
  isAwaited: boolean;
  controller: AbortController;
}

/**
 * Keeps the next-token distribution of the shown position up to date, also while a slider moves: one question at a time,
 * and of those that come meanwhile only the newest. While a text is written it follows at a pace that costs next to nothing.
 */
export function watchDistribution(store: AppStore, source: Source): void {
  const pace = new LivePace();
  let current: Asked | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let { sampling: lastSampling } = store.getState();

  /** Asks now; while a text is written, of its newest token when the next question is due. */
  function ask(): void {
    clearTimeout(timer);
    timer = undefined;
    const state = store.getState();
    const isAwaited = isSettled(state) || state.position !== null || state.sampling !== lastSampling;
    if (current && current.traceId === state.trace?.id && (current.isAwaited || !isAwaited)) return;
    current?.controller.abort();
    current = null;
    const waitMs = isAwaited ? 0 : pace.waitMs;
    if (waitMs === 0) void refresh(isAwaited);
    else timer = setTimeout(ask, waitMs);
  }

  async function refresh(isAwaited: boolean): Promise<void> {
    const state = store.getState();
    const { trace, sampling } = state;
    const position = shownPosition(state);
    const after = position === null ? null : trace?.tokens[position];
    if (!trace || position === null || !after) return;
    const asked = questionOf(state);
    const own: Asked = { traceId: trace.id, isAwaited, controller: new AbortController() };
    const { signal } = own.controller;
    current = own;
    lastSampling = sampling;
    const answered = pace.begin();
    const isStillAsked = () => questionOf(store.getState()).every((part, at) => part === asked[at]);
    try {
      const found = await source.readDistribution(trace.id, position, sampling, signal);
      if (signal.aborted) return;
      const value = { ...found, traceId: trace.id, after };
      store.setState({ distribution: { status: isStillAsked() ? "ready" : "loading", value, error: null } });
    } catch (error) {
      if (signal.aborted) return;
      const message = describeFailure(store, error);
      if (isStillAsked()) store.setState({ distribution: { status: "failed", value: null, error: message } });
    } finally {
      answered();
      if (current === own) {
        current = null;
        if (!isStillAsked()) ask();
      }
    }
  }

  whenBack(store, () => {
    if (store.getState().distribution.status === "failed") ask();
  });
  // The last token of a text does not wait.
  watchState(
    store,
    (state) => [isSettled(state)],
    () => timer !== undefined && ask(),
  );
  watchState(store, questionOf, (state, previous) => {
    const { value } = state.distribution;
    // What was read in another recording still holds where that began with the same text.
    const isOfText = value !== null && sharedPrefix(previous.trace, state.trace) > value.pos;
    store.setState({
      distribution: {
        status: state.trace ? "loading" : "empty",
        value: isOfText ? value : null,
        error: null,
      },
    });
    ask();
  });
}
