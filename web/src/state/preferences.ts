import type { AppState, PanelName, ThemeChoice } from "./AppState";

/** What this browser remembers between visits; never what was typed. */
export type Preferences = Pick<AppState, "themeChoice" | "language" | "panels">;

const KEY = "glassformer.preferences";
const THEME_CHOICES: ThemeChoice[] = ["system", "dark", "light"];

/** Reads what was remembered, dropping anything that is no longer understood. */
export function readPreferences(storage: Pick<Storage, "getItem">, defaults: Preferences): Preferences {
  const saved = parse(storage);
  const panels = { ...defaults.panels };
  for (const name of Object.keys(panels) as PanelName[]) {
    const open = saved.panels?.[name];
    if (typeof open === "boolean") panels[name] = open;
  }
  const choice = THEME_CHOICES.find((known) => known === saved.themeChoice);
  return {
    themeChoice: choice ?? defaults.themeChoice,
    language: typeof saved.language === "string" ? saved.language : defaults.language,
    panels,
  };
}

export function writePreferences(storage: Pick<Storage, "setItem">, state: Preferences): void {
  // The guide explains once; it does not greet every visit.
  const panels = { ...state.panels, guide: false };
  const saved: Preferences = { themeChoice: state.themeChoice, language: state.language, panels };
  try {
    storage.setItem(KEY, JSON.stringify(saved));
  } catch {
    // Storage may be full or forbidden; the page works without a memory.
  }
}

function parse(storage: Pick<Storage, "getItem">): {
  themeChoice?: unknown;
  language?: unknown;
  panels?: Record<string, unknown>;
} {
  try {
    const saved: unknown = JSON.parse(storage.getItem(KEY) ?? "{}");
    return typeof saved === "object" && saved !== null ? saved : {};
  } catch {
    return {};
  }
}
