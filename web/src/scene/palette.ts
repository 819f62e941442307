import { Color } from "three";
import type { PaletteName } from "./PaletteName";

type Ramp = [Color, Color, Color];

/** Every colour of the scene. Only values are saturated. */
export interface Palette {
  backdrop: Color;
  backdropEdge: Color;
  glass: Color;
  edge: Color;
  /** Colours at a third, two thirds and the whole of the scale; zero is clear. The heat map has the same. */
  positive: Ramp;
  negative: Ramp;
  probability: Ramp;
  /** The colours of positive and negative weights. */
  weight: [Color, Color];
  refused: Color;
  selection: Color;
  text: Color;
  quietText: Color;
  thread: Color;
  /** How much a bright value hides what is behind it: little in the dark theme, all in the light one. */
  opacity: number;
  body: number;
  /** How much of the glass colour a clear plate shows. */
  tint: number;
  glow: number;
}

/** Colours are handed to the shaders as they are written here (no tone mapping, no linear light). */
function raw(hex: string): Color {
  const value = Number.parseInt(hex.slice(1), 16);
  return new Color().setRGB(((value >> 16) & 255) / 255, ((value >> 8) & 255) / 255, (value & 255) / 255, "");
}

export const PALETTES: Record<PaletteName, Palette> = {
  dark: {
    backdrop: raw("#10151f"),
    backdropEdge: raw("#07090e"),
    glass: raw("#8fb0d8"),
    edge: raw("#b9d0ee"),
    positive: [raw("#804a0c"), raw("#ffa82e"), raw("#ffe4b0")],
    negative: [raw("#184e8a"), raw("#409cff"), raw("#bae0ff")],
    probability: [raw("#403470"), raw("#b068a8"), raw("#ffe0d6")],
    weight: [raw("#b5a58a"), raw("#5d82b4")],
    refused: raw("#4a4f58"),
    selection: raw("#ffffff"),
    text: raw("#eef3fa"),
    quietText: raw("#8fa0b5"),
    thread: raw("#a9c4e6"),
    opacity: 0.55,
    body: 0.34,
    tint: 0.055,
    glow: 1,
  },
  light: {
    backdrop: raw("#fbfaf7"),
    backdropEdge: raw("#e9e6df"),
    glass: raw("#c9d6e4"),
    edge: raw("#5f7690"),
    positive: [raw("#facc8a"), raw("#d67810"), raw("#703400")],
    negative: [raw("#96c4f0"), raw("#2876cc"), raw("#08306b")],
    probability: [raw("#deb8d8"), raw("#944896"), raw("#3a1052")],
    weight: [raw("#a08a68"), raw("#6583a8")],
    refused: raw("#b5b7ba"),
    selection: raw("#10161f"),
    text: raw("#1a2330"),
    quietText: raw("#55647a"),
    thread: raw("#8197b0"),
    opacity: 1,
    body: 0.3,
    tint: 0.24,
    glow: 0,
  },
};
