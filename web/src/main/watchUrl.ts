import type { AppState } from "../state/AppState";
import type { AppStore } from "../state/createAppStore";
import { asMade, placeOf, readUrl, type UrlState, writeUrl } from "../state/urlState";
import { describeFailure } from "./describeFailure";

/** Browsers limit how often the address may change; typing must not meet that limit. */
const DEBOUNCE_MS = 300;

/** What the entry of the browser's history stands for that is shown now. */
interface Entry {
  place: string;
  /** Its address without what was typed or set since, which belongs to the next recording. */
  query: string;
}

/**
 * Keeps the address in step with the state, so that copying it shares the view. Another model, recording or matrix
 * is another entry of the history, so that going back leads to the last one; everything else changes the entry.
 */
export function watchUrl(store: AppStore, restore: (url: UrlState) => Promise<void>): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let entry: Entry | null = null;
  let restorations = 0;
  let restoring = false;
  // A frame shares the history of the page around it, whose way back it must not block.
  const isFrame = window.parent !== window;

  function write(): void {
    const state = store.getState();
    if (restoring || !state.anatomy || state.opening || (!state.trace && state.activity !== "idle")) return;
    const next = entryOf(state, state.anatomy.model_id);
    if (entry && entry.place !== next.place && !isFrame) {
      show(entry.query, "replaceState");
      show(writeUrl(state, state.anatomy.model_id), "pushState");
    } else show(writeUrl(state, state.anatomy.model_id), "replaceState");
    entry = next;
  }

  store.subscribe(() => {
    clearTimeout(timer);
    timer = setTimeout(write, DEBOUNCE_MS);
  });

  window.addEventListener("popstate", async () => {
    restorations += 1;
    const own = restorations;
    restoring = true;
    clearTimeout(timer);
    try {
      await restore(readUrl(window.location.search));
    } catch (error) {
      store.setState({ runError: describeFailure(store, error) });
    } finally {
      if (own === restorations) restoring = false;
    }
    if (own !== restorations) return;
    const state = store.getState();
    entry = state.anatomy && entryOf(state, state.anatomy.model_id);
  });
}

function entryOf(state: AppState, modelId: string): Entry {
  return { place: placeOf(state, modelId), query: writeUrl(asMade(state), modelId) };
}

function show(query: string, how: "pushState" | "replaceState"): void {
  if (how === "replaceState" && query === window.location.search) return;
  window.history[how](null, "", window.location.pathname + query);
}
