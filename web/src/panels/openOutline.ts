import type { AppStore } from "../state/createAppStore";
import { SHEETS_QUERY } from "./useMediaQuery";

/** Opens the outline, as a panel or as a sheet, and moves the focus into it, since it is mostly used with keys. */
export function openOutline(store: AppStore): void {
  if (window.matchMedia(SHEETS_QUERY).matches) store.setState({ sheet: "outline" });
  else store.setState(({ panels }) => ({ panels: { ...panels, outline: true } }));
  requestAnimationFrame(() =>
    document.querySelector<HTMLElement>("[data-testid=outline] [tabindex='0']")?.focus(),
  );
}

export function toggleOutline(store: AppStore): void {
  const { panels, sheet } = store.getState();
  const asSheet = window.matchMedia(SHEETS_QUERY).matches;
  if (!(asSheet ? sheet === "outline" : panels.outline)) openOutline(store);
  else if (asSheet) store.setState({ sheet: "prompt" });
  else store.setState({ panels: { ...panels, outline: false } });
}
