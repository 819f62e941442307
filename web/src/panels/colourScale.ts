import { tone } from "../layout/tone";
import type { Theme } from "../state/AppState";

export type Scale = "diverging" | "probability" | "weight";
export type Colour = readonly [red: number, green: number, blue: number];

/** From a third of the way to full brightness, as the scene colours its glass (a test holds the two together). */
type Stops = readonly [Colour, Colour, Colour];

interface Ramp {
  /** Zero is clear glass: the ground shows through. */
  ground: Colour;
  negative: Stops;
  positive: Stops;
  probability: Stops;
  /** Of the largest negative and positive weight: etched into the glass, not glowing. */
  weight: readonly [negative: Colour, positive: Colour];
}

export const RAMPS: Record<Theme, Ramp> = {
  dark: {
    ground: hex("#10151f"),
    negative: [hex("#184e8a"), hex("#409cff"), hex("#bae0ff")],
    positive: [hex("#804a0c"), hex("#ffa82e"), hex("#ffe4b0")],
    probability: [hex("#403470"), hex("#b068a8"), hex("#ffe0d6")],
    weight: [hex("#4f6e99"), hex("#91887a")],
  },
  light: {
    ground: hex("#fbfaf7"),
    negative: [hex("#96c4f0"), hex("#2876cc"), hex("#08306b")],
    positive: [hex("#facc8a"), hex("#d67810"), hex("#703400")],
    probability: [hex("#deb8d8"), hex("#944896"), hex("#3a1052")],
    weight: [hex("#8ba1bd"), hex("#b7a68c")],
  },
};

/** What a colour scale is made for. */
export interface ColourScale {
  scale: Scale;
  /** The magnitude at full brightness. */
  limit: number;
  logarithmic: boolean;
  theme: Theme;
}

/** The colour of a value. Null for what is not a number or not finite. */
export function colourOf(value: number, { scale, limit, logarithmic, theme }: ColourScale): Colour | null {
  if (!Number.isFinite(value)) return null;
  const { ground, negative, positive, probability, weight } = RAMPS[theme];
  const stops =
    scale === "probability"
      ? probability
      : scale === "weight"
        ? [weight[value < 0 ? 0 : 1]]
        : value < 0
          ? negative
          : positive;
  return mix([ground, ...stops], limit > 0 ? tone(Math.abs(value) / limit, logarithmic) : 0);
}

export function cssGradient(scale: Scale, theme: Theme): string {
  const { ground, negative, positive, probability, weight } = RAMPS[theme];
  const stops = {
    probability: [ground, ...probability],
    diverging: [...negative.toReversed(), ground, ...positive],
    weight: [weight[0], ground, weight[1]],
  }[scale];
  return `linear-gradient(to right, ${stops.map((stop) => `rgb(${stop.join(" ")})`).join(", ")})`;
}

function hex(text: string): Colour {
  const value = Number.parseInt(text.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

function mix(stops: Colour[], fraction: number): Colour {
  const place = fraction * (stops.length - 1);
  const at = Math.min(Math.floor(place), stops.length - 2);
  const from = stops[at] ?? [0, 0, 0];
  const to = stops[at + 1] ?? from;
  const part = place - at;
  return [
    from[0] + (to[0] - from[0]) * part,
    from[1] + (to[1] - from[1]) * part,
    from[2] + (to[2] - from[2]) * part,
  ];
}
