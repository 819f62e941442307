import type { Theme } from "../state/AppState";

export type Scale = "diverging" | "probability";
type Colour = readonly [red: number, green: number, blue: number];

/** From nothing to full brightness. Zero is clear glass: the ground shows through. */
interface Ramp {
  negative: Colour[];
  positive: Colour[];
  probability: Colour[];
}

const RAMPS: Record<Theme, Ramp> = {
  dark: {
    negative: [
      [16, 21, 33],
      [24, 78, 138],
      [64, 156, 255],
      [186, 224, 255],
    ],
    positive: [
      [16, 21, 33],
      [128, 74, 12],
      [255, 168, 46],
      [255, 228, 176],
    ],
    probability: [
      [16, 21, 33],
      [64, 52, 112],
      [176, 104, 168],
      [255, 224, 214],
    ],
  },
  light: {
    negative: [
      [250, 251, 253],
      [150, 196, 240],
      [40, 118, 204],
      [8, 48, 107],
    ],
    positive: [
      [250, 251, 253],
      [250, 204, 138],
      [214, 120, 16],
      [112, 52, 0],
    ],
    probability: [
      [250, 251, 253],
      [222, 184, 216],
      [148, 72, 150],
      [58, 16, 82],
    ],
  },
};

/** The colour of a value whose matrix is at full brightness at `limit`. Null for what is masked or not recorded. */
export function colourOf(value: number, limit: number, scale: Scale, theme: Theme): Colour | null {
  if (!Number.isFinite(value)) return null;
  const ramp = RAMPS[theme];
  const stops = scale === "probability" ? ramp.probability : value < 0 ? ramp.negative : ramp.positive;
  const fraction = limit > 0 ? Math.min(1, Math.abs(value) / limit) : 0;
  return mix(stops, fraction);
}

export function cssGradient(scale: Scale, theme: Theme): string {
  const { negative, positive, probability } = RAMPS[theme];
  const stops = scale === "probability" ? probability : [...negative.toReversed(), ...positive.slice(1)];
  return `linear-gradient(to right, ${stops.map((stop) => `rgb(${stop.join(" ")})`).join(", ")})`;
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
