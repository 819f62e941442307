import { useEffect } from "react";
import type { PanelName } from "../state/AppState";
import type { Commands } from "../state/Commands";
import type { AppStore } from "../state/createAppStore";
import { startRide } from "../state/rideStops";
import { shownPosition } from "../state/selectors";
import { useAppStore, useCommands } from "./AppContext";
import { toggleHeads } from "./heads/openHeads";
import { toggleOutline } from "./openOutline";

/** The page's keys. Letters work outside of text fields; Ctrl (or Cmd) combinations everywhere. */
export function useShortcuts(): void {
  const store = useAppStore();
  const commands = useCommands();
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      // A key that composes a letter belongs to the letter; behind a dialog the page has no keys.
      if (event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]")) return;
      const done =
        event.ctrlKey || event.metaKey
          ? runCombination(event, commands)
          : !event.altKey && runLetter(event, store, commands);
      if (done) event.preventDefault();
    };
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, [store, commands]);
}

function runCombination(event: KeyboardEvent, commands: Commands): boolean {
  if (event.key === "Enter") {
    if (event.shiftKey) commands.generate();
    else commands.run();
    return true;
  }
  if (event.key === ".") {
    commands.stop();
    return true;
  }
  return false;
}

function runLetter(event: KeyboardEvent, store: AppStore, commands: Commands): boolean {
  if (event.key === "Escape") return closeOne(store) || leaveField(event.target);
  if (isTyping(event.target)) return false;
  const toggle = (name: PanelName) =>
    store.setState(({ panels }) => ({ panels: { ...panels, [name]: !panels[name] } }));
  switch (event.key.toLowerCase()) {
    case "/":
      store.setState({ searching: true });
      return true;
    case "w":
      focusPrompt(store);
      return true;
    case "?":
    case "g":
      toggle("guide");
      return true;
    case "o":
      toggleOutline(store);
      return true;
    case "h":
      toggleHeads(store);
      return true;
    case "f":
      commands.fit();
      return true;
    case "z":
      if (event.shiftKey) commands.redoView();
      else commands.undoView();
      return true;
    case ",":
    case ".":
      return scrubBy(store, event.key === "." ? 1 : -1);
    case "p":
      commands.play();
      return true;
    case "r":
      store.setState(startRide);
      return true;
    case "l":
      store.setState(({ large }) => ({ large: !large }));
      return true;
    case "s":
      document.querySelector<HTMLElement>("[data-testid=save-toggle]")?.click();
      return true;
    case "t":
      store.setState(({ theme }) => ({ themeChoice: theme === "dark" ? "light" : "dark" }));
      return true;
    default:
      return false;
  }
}

/** Escape closes what was opened last: guide, inspector, heads, outline; then it puts back what is switched off. */
function closeOne(store: AppStore): boolean {
  const { panels, selection, off } = store.getState();
  if (panels.guide) store.setState({ panels: { ...panels, guide: false } });
  else if (selection) store.setState({ selection: null });
  else if (panels.heads) store.setState({ panels: { ...panels, heads: false } });
  else if (panels.outline) store.setState({ panels: { ...panels, outline: false } });
  else if (off.length > 0) store.setState({ off: [] });
  else return false;
  return true;
}

/** The prompt box has the focus from the start; this gives the keys back to the page. */
function leaveField(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement) || !isTyping(target)) return false;
  target.blur();
  return true;
}

/** One token further or back; the last one is where the picture follows the text. */
function scrubBy(store: AppStore, tokens: number): boolean {
  const state = store.getState();
  const shown = shownPosition(state);
  if (shown === null) return false;
  const last = (state.trace?.positions ?? 1) - 1;
  store.setState({ position: Math.max(0, Math.min(last, shown + tokens)) });
  return true;
}

function focusPrompt(store: AppStore): void {
  store.setState(({ panels }) => ({ panels: { ...panels, prompt: true }, sheet: "prompt" }));
  requestAnimationFrame(() => document.getElementById("prompt")?.focus());
}

function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.matches("textarea, select, input:not([type=range]):not([type=checkbox])");
}
