import type { AppStore } from "../../state/createAppStore";
import { SHEETS_QUERY } from "../useMediaQuery";

/** Opens all heads at a glance, as a panel or as a sheet, or closes them. Opened, they have the focus. */
export function toggleHeads(store: AppStore): void {
  const { panels, sheet } = store.getState();
  const asSheet = window.matchMedia(SHEETS_QUERY).matches;
  if (asSheet ? sheet === "heads" : panels.heads) {
    store.setState(asSheet ? { sheet: "prompt" } : { panels: { ...panels, heads: false } });
    return;
  }
  // Beside each other they would leave no room for an inspector.
  store.setState(asSheet ? { sheet: "heads" } : { panels: { ...panels, heads: true, outline: false } });
}
