import type { AppState } from "./AppState";
import type { AppStore } from "./createAppStore";

/** Calls back whenever what `select` picks changes: once for each change, in the order of the picked values. */
export function watchState<Picked extends readonly unknown[]>(
  store: AppStore,
  select: (state: AppState) => Picked,
  onChange: (state: AppState, previous: AppState) => void,
): () => void {
  let last = select(store.getState());
  return store.subscribe((state, previous) => {
    const next = select(state);
    if (next.every((value, at) => Object.is(value, last[at]))) return;
    last = next;
    onChange(state, previous);
  });
}
