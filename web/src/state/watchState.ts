import type { AppState } from "./AppState";
import type { AppStore } from "./createAppStore";

/**
 * Calls back whenever what `select` picks changes: once for each change, in the order of the picked values.
 *
 * `previous` is the state that this watcher was last told of. The state that the store itself passes can be a later
 * one: where another watcher has answered a change with a second one, it already holds the first.
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
