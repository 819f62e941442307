import type { AppStore } from "../state/createAppStore";

/** Opens the outline, as a panel or as a sheet, and moves the focus into it: keys are how it is mostly used. */
export function openOutline(store: AppStore): void {
  store.setState(({ panels }) => ({ panels: { ...panels, outline: true }, sheet: "outline" }));
  requestAnimationFrame(() =>
    document.querySelector<HTMLElement>("[data-testid=outline] [tabindex='0']")?.focus(),
  );
}
