import { CountLru } from "../data/CountLru";
import { LatestRequest } from "../data/LatestRequest";
import type { Source } from "../data/Source";
import type { Without } from "../protocol/schema.generated";
import { EMPTY } from "../state/AppState";
import type { AppStore } from "../state/createAppStore";
import { decisionOf } from "../state/decision";
import { isSettled } from "../state/selectors";
import { watchState } from "../state/watchState";
import { describeFailure } from "./describeFailure";
import { whenBack } from "./whenBack";

const KEPT_ANSWERS = 32;

/** Keeps the decision without the parts that are switched off. The answer before stays until the next is there. */
export function watchWithout(store: AppStore, source: Source): void {
  const latest = new LatestRequest();
  const known = new CountLru<Without>(KEPT_ANSWERS);

  async function refresh(): Promise<void> {
    const state = store.getState();
    const decision = decisionOf(state);
    const { off } = state;
    if (!decision || off.length === 0 || !source.readWithout) {
      latest.cancel();
      store.setState({ without: EMPTY });
      return;
    }
    if (!isSettled(state)) return;
    const key = [decision.traceId, state.trace?.rewritten ?? 0, decision.position, ...off].join(" ");
    const found = known.get(key);
    if (found) latest.cancel();
    try {
      if (!found) store.setState({ without: { ...state.without, status: "loading", error: null } });
      const value =
        found ?? (await latest.run(async (signal) => source.readWithout?.(decision, off, signal)));
      if (!value) return;
      known.set(key, value);
      store.setState({ without: { status: "ready", value, error: null } });
    } catch (error) {
      const message = describeFailure(store, error);
      store.setState({ without: { status: "failed", value: null, error: message } });
    }
  }

  whenBack(store, () => {
    if (store.getState().without.status === "failed") void refresh();
  });
  watchState(
    store,
    (state) => [
      state.off,
      state.trace?.id,
      state.trace?.rewritten,
      state.position,
      isSettled(state),
      state.anatomy?.model_id,
    ],
    () => void refresh(),
  );
}
