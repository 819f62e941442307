import { SerialRequest } from "../data/SerialRequest";
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

/**
 * Keeps the next-token distribution of the shown position up to date, also while a slider moves. While a text is
 * written it follows at a pace that costs next to nothing.
 */
export function watchDistribution(store: AppStore, source: Source): void {
  const serial = new SerialRequest();
  const pace = new LivePace();
  let timer: ReturnType<typeof setTimeout> | undefined;

  /** Asks now; while a text is written, of its newest token when the next question is due. */
  function ask(): void {
    clearTimeout(timer);
    timer = undefined;
    const waitMs = isSettled(store.getState()) ? 0 : pace.waitMs;
    if (waitMs === 0) serial.run(refresh);
    else timer = setTimeout(ask, waitMs);
  }

  async function refresh(): Promise<void> {
    const state = store.getState();
    const { trace, sampling } = state;
    const position = shownPosition(state);
    const after = position === null ? null : trace?.tokens[position];
    if (!trace || position === null || !after) return;
    const asked = questionOf(state);
    const answered = pace.begin();
    const isStillAsked = () => questionOf(store.getState()).every((part, at) => part === asked[at]);
    try {
      const found = await source.readDistribution(trace.id, position, sampling);
      if (store.getState().trace?.id !== trace.id) return;
      const value = { ...found, traceId: trace.id, after };
      store.setState({ distribution: { status: isStillAsked() ? "ready" : "loading", value, error: null } });
    } catch (error) {
      const message = describeFailure(store, error);
      if (!isStillAsked()) return;
      store.setState({ distribution: { status: "failed", value: null, error: message } });
    } finally {
      answered();
    }
  }

  whenBack(store, () => {
    if (store.getState().distribution.status === "failed") serial.run(refresh);
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
