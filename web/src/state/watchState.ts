import type { AppState } from "./AppState";
import type { AppStore } from "./createAppStore";

/**
 * Calls back whenever what `select` picks changes: once for each change, in the order of the picked values.
 *
 * `previous` is the state that this watcher was last told of. The store's own is another where a watcher before this one
 * answered the change with a change: what was picked would be the same in both.
 */
export function watchState<Picked extends readonly unknown[]>(
  store: AppStore,
  select: (state: AppState) => Picked,
  onChange: (state: AppState, previous: AppState) => void,
): () => void {
  let told = store.getState();
  let last = select(told);
  return store.subscribe((state) => {
    const previous = told;
    told = state;
    const next = select(state);
    if (next.every((value, at) => Object.is(value, last[at]))) return;
    last = next;
    onChange(state, previous);
  });
}
