import type { Theme } from "../../state/AppState";
import { type Colour, colourOf } from "../colourScale";
import type { ScoreName } from "./headScores";

/** What is not a value is drawn in these. */
export const INKS: Record<Theme, { text: string; quiet: string; line: string; strong: string; gap: string }> =
  {
    dark: { text: "#e6ebf4", quiet: "#9aa6bc", line: "#bed2ff38", strong: "#ffffff", gap: "#bed2ff14" },
    light: { text: "#172133", quiet: "#4c586c", line: "#1428503d", strong: "#000000", gap: "#14285012" },
  };
export const MONO = '"JetBrains Mono Variable", ui-monospace, monospace';
export const SANS = '"Source Sans 3 Variable", system-ui, sans-serif';

/** The colour of a score; null where there is none. */
export function inkOf(value: number | null, score: ScoreName, limit: number, theme: Theme): Colour | null {
  if (value === null) return null;
  const scale = score === "worth" ? "diverging" : "probability";
  return colourOf(value, { scale, limit, logarithmic: false, theme });
}

/** The colour of a share of attention. */
export function shareInk(share: number, theme: Theme): Colour | null {
  return colourOf(share, { scale: "probability", limit: 1, logarithmic: false, theme });
}

export function cssOf(colour: Colour): string {
  return `rgb(${colour.map(Math.round).join(" ")})`;
}

/** Black or white, whichever is read better on a colour (relative luminance, WCAG 2.2). */
export function textOn(colour: Colour): string {
  const [red, green, blue] = colour.map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 ? "#000000" : "#ffffff";
}
