import { LatestRequest } from "../data/LatestRequest";
import type { MatrixReader } from "../data/MatrixReader";
import type { AppStore } from "../state/createAppStore";
import { watchState } from "../state/watchState";
import { describeFailure } from "./describeFailure";
import { tensorStoreOf } from "./tensorStoreOf";

/** A value is read once the pointer has rested this long: on its way it passes many cells. */
const DEBOUNCE_MS = 90;

/** Reads the value of the cell under the pointer where the page holds only a coarser picture of its matrix. */
export function watchHover(store: AppStore, reader: MatrixReader): void {
  const latest = new LatestRequest(DEBOUNCE_MS);

  async function readValue(): Promise<void> {
    const state = store.getState();
    const { hover } = state;
    const found = hover && tensorStoreOf(state, hover.cell.address);
    if (!hover || hover.value !== null || !found || !reader.holds(found.store)) {
      latest.cancel();
      return;
    }
    try {
      const value = await latest.run((signal) => reader.readCell(found.store, hover.cell, signal));
      const now = store.getState().hover;
      if (value !== null && now?.cell === hover.cell)
        store.setState({ hover: { ...now, value, pool: null } });
    } catch (error) {
      describeFailure(store, error);
    }
  }

  watchState(
    store,
    (state) => [state.hover?.cell, state.trace?.rewritten],
    () => void readValue(),
  );
}
