import type { AppState, PanelName, ThemeChoice } from "./AppState";

/** What this browser remembers between visits; never what was typed. */
export type Preferences = Pick<AppState, "themeChoice" | "language" | "large" | "panels" | "scaling">;

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
    large: saved.large === true,
    panels,
    scaling: {
      shared: saved.scaling?.shared === true,
      logarithmic: saved.scaling?.logarithmic === true,
    },
  };
}

export function writePreferences(storage: Pick<Storage, "setItem">, state: Preferences): void {
  // The guide explains once, and heads cost the server work; neither greets every visit.
  const panels = { ...state.panels, heads: false, guide: false };
  const { themeChoice, language, large, scaling } = state;
  const saved: Preferences = { themeChoice, language, large, panels, scaling };
  try {
    storage.setItem(KEY, JSON.stringify(saved));
  } catch {
    // Storage may be full or forbidden; the page works without a memory.
  }
}

function parse(storage: Pick<Storage, "getItem">): {
  themeChoice?: unknown;
  language?: unknown;
  large?: unknown;
  panels?: Record<string, unknown>;
  scaling?: Record<string, unknown>;
} {
  try {
    const saved: unknown = JSON.parse(storage.getItem(KEY) ?? "{}");
    return typeof saved === "object" && saved !== null ? saved : {};
  } catch {
    return {};
  }
}
