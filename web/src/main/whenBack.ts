import type { AppStore } from "../state/createAppStore";
import { watchState } from "../state/watchState";

/** Calls back when the server answers after it was out of reach: what failed meanwhile can be asked for again. */
export function whenBack(store: AppStore, ask: () => void): void {
  watchState(
    store,
    (state) => [state.connection === "online"],
    ({ connection }) => connection === "online" && ask(),
  );
}
