import type { Color } from "three";
import type { Vec3 } from "../layout/Vec3";

/** An upright slab of glass: a token tile or a bar of the skyline. */
export interface Slab {
  /** Bottom left of the front face. */
  corner: Vec3;
  width: number;
  height: number;
  depth: number;
  color: Color;
  /** How much light is in it, 0..1. */
  light: number;
  /** How bright its edges are, 0..1. */
  edge: number;
  /** When the pass of light reaches it, as a fraction of the whole. */
  order: number;
}
