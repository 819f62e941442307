import { Serial } from "../data/Serial";
import type { Source } from "../data/Source";
import type { AppStore } from "../state/createAppStore";
import { shownPosition } from "../state/selectors";
import { watch } from "../state/watch";
import { describeFailure } from "./describeFailure";

/** Keeps the next-token distribution of the shown position up to date, also while a slider moves or tokens arrive. */
export function watchDistribution(store: AppStore, source: Source): void {
  const serial = new Serial();

  async function refresh(): Promise<void> {
    const state = store.getState();
    const { trace, sampling } = state;
    const position = shownPosition(state);
    if (!trace || position === null) return;
    try {
      const value = await source.readDistribution(trace.id, position, sampling);
      if (store.getState().trace?.id !== trace.id) return;
      store.setState({ distribution: { status: "ready", value, error: null } });
    } catch (error) {
      const message = describeFailure(store, error);
      if (store.getState().trace?.id !== trace.id) return;
      store.setState({ distribution: { status: "failed", value: null, error: message } });
    }
  }

  watch(
    store,
    (state) => [
      state.trace?.id,
      shownPosition(state),
      // The token that follows the shown position is lit in the distribution, so its arrival changes the answer.
      state.trace?.tokens[(shownPosition(state) ?? 0) + 1]?.id,
      state.sampling,
    ],
    () => {
      store.setState(({ distribution }) => ({ distribution: { ...distribution, status: "loading" } }));
      serial.run(refresh);
    },
  );
}
