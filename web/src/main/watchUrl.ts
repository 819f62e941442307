import type { AppStore } from "../state/createAppStore";
import { writeUrl } from "../state/urlState";

/** Browsers limit how often the address may change; typing must not meet that limit. */
const DEBOUNCE_MS = 300;

/** Keeps the address in step with the state, so that copying it shares the view. */
export function watchUrl(store: AppStore): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  store.subscribe((state) => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (!state.anatomy) return;
      const query = writeUrl(state, state.anatomy.model_id);
      if (query !== window.location.search)
        window.history.replaceState(null, "", window.location.pathname + query);
    }, DEBOUNCE_MS);
  });
}
