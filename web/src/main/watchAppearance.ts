import type { AppStore } from "../state/createAppStore";
import { type Preferences, writePreferences } from "../state/preferences";
import { watchState } from "../state/watchState";
import type { PageStorage } from "./browserStorage";

const DARK = "(prefers-color-scheme: dark)";

/** Applies the theme, follows the system where asked to, and remembers the choices. */
export function watchAppearance(store: AppStore, storage: PageStorage): void {
  const system = window.matchMedia(DARK);

  function apply(): void {
    const { themeChoice, language, large } = store.getState();
    const theme = themeChoice === "system" ? (system.matches ? "dark" : "light") : themeChoice;
    document.documentElement.dataset.theme = theme;
    document.documentElement.lang = language;
    document.documentElement.toggleAttribute("data-large", large);
    store.setState({ theme });
  }

  apply();
  system.addEventListener("change", apply);
  watchState(store, (state) => [state.themeChoice, state.language, state.large], apply);
  watchState(
    store,
    (state) => [state.themeChoice, state.language, state.large, state.panels, state.scaling],
    (state: Preferences) => writePreferences(storage, state),
  );
}
