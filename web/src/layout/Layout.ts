import type { FarBlock } from "./FarBlock";
import type { Plate } from "./Plate";
import type { Vec3 } from "./Vec3";

/** A thread of light between two drawables: a cubic curve. */
export interface Edge {
  points: readonly [Vec3, Vec3, Vec3, Vec3];
  order: readonly [number, number];
  /** Shared key and value heads have quieter threads. */
  kind: "flow" | "shared";
}

/** From afar: a `word` along the spine, the `answer` at its end, a `mark` beside it, the `source` of an arc, what would be said `instead`, what a head `reads`. */
export type LabelRole =
  | "block"
  | "site"
  | "head"
  | "weight"
  | "title"
  | "reason"
  | "token"
  | "word"
  | "answer"
  | "mark"
  | "source"
  | "instead"
  | "reads";

/** A few words at a point of the world. */
export interface Label {
  text: string;
  /** What stands instead where `span` has no room for the text. */
  short?: string;
  at: Vec3;
  /** Which side of the point the words stand on. */
  align: "left" | "center" | "right";
  /** Lower numbers win when two would overlap. */
  priority: number;
  /** The world length that must be this label's own on the screen, else it gives way; 0: always wanted. */
  span: number;
  /** The world height its drawable must have on the screen to carry a name; 0: none. */
  rise: number;
  role: LabelRole;
  /** The drawable it names, if any. */
  name: string | null;
  /** How clearly it stands out, 0..1; left out: fully. */
  strength?: number;
  /** Above 0 in the hue of what is positive, below 0 in the other. */
  hue?: number;
}

export interface Bounds {
  min: Vec3;
  max: Vec3;
}

/** Everything inside one block. */
export interface BlockDetail {
  plates: Plate[];
  edges: Edge[];
  labels: Label[];
}

/** One block: its place, what stands for it from afar, and (on demand) all that is in it. */
export interface BlockPlace {
  index: number;
  heads: number;
  bounds: Bounds;
  /** What stands for it while it is small on the screen. */
  far: FarBlock;
  label: Label;
  detail(): BlockDetail;
}

/** Where a token's tile stands. */
export interface TilePlace {
  corner: Vec3;
  width: number;
  height: number;
  /** World height of the text. */
  size: number;
}

/** Where the spine runs: its left edge in x, its top and bottom in y. */
export interface Spine {
  left: number;
  top: number;
  bottom: number;
  width: number;
}

export interface Layout {
  columns: number;
  /** Plates outside the blocks. */
  plates: Plate[];
  labels: Label[];
  blocks: BlockPlace[];
  /** Addresses that share another's place: the residual before a block is the one after the block before it. */
  aliases: Map<string, string>;
  /** The spine, from the embeddings down to the logits. */
  spine: Spine;
  /** The y of each boundary: after the embedding, and after each block. */
  boundaries: number[];
  /** Top left corner of the space for token tiles, their width, and the world height of their text. */
  tiles: { corner: Vec3; width: number; size: number };
  skyline: { corner: Vec3; width: number; height: number; size: number; bars: number };
  bounds: Bounds;
  /** Other models that stand beside it, drawn from afar alone; empty where the model stands by itself. */
  beside: readonly Layout[];
}
