import type { Anatomy } from "../protocol/schema.generated";

/** What is written on a model that is drawn without values: its name under it, and over its parts what they are. */
export interface ShapeNames {
  name: string;
  attention: PartTitle;
  stream: PartTitle;
  mlp: PartTitle;
}

/** `short` stands where there is no room for all of it. */
export interface PartTitle {
  full: string;
  short: string;
}

/** Models that are drawn without values: one, or several side by side. */
export interface ShapeView {
  anatomies: readonly Anatomy[];
  /** For each of them, in the same order. */
  names: readonly ShapeNames[];
  /** How many parameters a part holds, 0..1 of the largest part of its model; the same names as of the far view. */
  lightOf(part: string): number;
}
