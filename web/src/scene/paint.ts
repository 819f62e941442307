import type { ShaderMaterial } from "three";
import type { Palette } from "./palette";
import type { ValueStore } from "./ValueStore";

/** Gives a material the palette's colours, those that it has uniforms for. */
export function paint(material: ShaderMaterial, palette: Palette): void {
  setUniforms(material, {
    uBackdrop: palette.backdrop,
    uGlass: palette.glass,
    uEdge: palette.edge,
    uRefused: palette.refused,
    uSelection: palette.selection,
    uThread: palette.thread,
    uPositive: palette.positive,
    uNegative: palette.negative,
    uProbability: palette.probability,
    uWeight: palette.weight,
    uOpacity: palette.opacity,
    uBody: palette.body,
    uTint: palette.tint,
    uGlow: palette.glow,
  });
}

/** Lets a material find cells where they are held now. */
export function showValues(material: ShaderMaterial, store: ValueStore): void {
  setUniforms(material, {
    uValues: store.values,
    uPages: store.pages,
    uLogarithmic: store.isLogarithmic ? 1 : 0,
  });
}

function setUniforms({ uniforms }: ShaderMaterial, values: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(values)) {
    const uniform = uniforms[name];
    if (uniform) uniform.value = value;
  }
}
