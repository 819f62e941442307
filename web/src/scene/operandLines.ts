import { add, length, subtract, type Vec3 } from "../layout/Vec3";
import type { Curve } from "./Curve";
import type { Palette } from "./palette";
import type { TextLine } from "./TextLine";

/** How far a line swings out towards the viewer, as a share of its length. */
const SWING = 0.3;
const DOT_PX = 9;
const RING_PX = 20;

/** White lines from what a cell was computed from to the cell itself. */
export function operandCurves(to: Vec3 | null, from: readonly Vec3[]): Curve[] {
  if (!to) return [];
  // Many lines at full strength would be a white cloth.
  const strength = Math.max(0.25, 0.8 - from.length * 0.02);
  return from.map((each) => {
    const reach = length(subtract(to, each)) * SWING;
    const points: Curve["points"] = [each, add(each, [0, 0, reach]), add(to, [0, 0, reach]), to];
    return { points, order: [0, 0] as const, widthPx: 1.3, strength, token: -1, selected: true };
  });
}

/** A ring around the selected cell and a dot on each operand: cells can be smaller than a pixel. */
export function operandDots(to: Vec3 | null, from: readonly Vec3[], palette: Palette): TextLine[] {
  if (!to) return [];
  const dot = (at: Vec3, text: string, sizePx: number): TextLine => ({
    text,
    face: "sans",
    at,
    color: palette.selection,
    alpha: 1,
    align: "center",
    halo: true,
    sizePx,
    shift: [0, -sizePx * 0.33],
  });
  return [...from.map((each) => dot(each, "●", DOT_PX)), dot(to, "○", RING_PX)];
}
