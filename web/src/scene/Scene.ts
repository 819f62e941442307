import type { Pose } from "../layout/Camera";
import type { Cell } from "../layout/Cell";
import type { FarTexts } from "../layout/farLabels";
import type { LayoutTexts } from "../layout/LayoutTexts";
import type { Range } from "../layout/Magnitudes";
import type { Matrix } from "../layout/Matrix";
import type { Pool } from "../layout/Pool";
import type { RideStop } from "../layout/RideStop";
import type { Scaling } from "../layout/Scaling";
import type { ShapeView } from "../layout/ShapeView";
import type { Anatomy, Distribution, Effects, Reading, Token, Without } from "../protocol/schema.generated";
import type { Insets } from "./Insets";
import type { PaletteName } from "./PaletteName";
import type { Wanted } from "./Wanted";

export interface SceneTexts extends FarTexts, LayoutTexts {}

export interface SceneOptions {
  theme: PaletteName;
  reducedMotion: boolean;
  /** `at` is in CSS pixels from the canvas' top left corner. */
  onHover(cell: Cell | null, at: { x: number; y: number }): void;
  onSelect(cell: Cell | null): void;
  /** Called when another set of tensors can be seen: the data layer fetches these. From afar none can. */
  onWanted(names: Wanted[]): void;
  /** The camera has come to rest somewhere else. */
  onView(view: RestingView): void;
  /** A part of the far view is pointed at (`head.24.4`, `mlp.3`, `token.17`); null: none any more. */
  onPart(part: string | null, at: { x: number; y: number }): void;
  onPartClick(part: string): void;
  /** A bar of the skyline was clicked: its word. */
  onBar(tokenId: number): void;
  /** The tile of a token was clicked: its position. */
  onTile(position: number): void;
  /** What the picture says beside the model's own words. */
  texts: SceneTexts;
}

export interface RestingView {
  /** Where somebody put it; null while the whole model is fitted into what is free. */
  pose: Pose | null;
  canUndo: boolean;
  canRedo: boolean;
}

export interface SceneStats {
  frames: number;
  drawCalls: number;
  triangles: number;
  textureBytes: number;
  /** Numbers sent to the device since the scene was made. */
  uploadedBytes: number;
  /** How many tensors have values. */
  tensors: number;
  labels: number;
  /** How many matrices, and how many mosaics, are drawn. */
  plates: number;
  mosaics: number;
  lastReason: string;
}

export interface Scene {
  /**
   * With `shape` models without values are drawn in its place; where they are several, the number of each stands before
   * its parts (`1:mlp.3`).
   */
  setAnatomy(anatomy: Anatomy | null, shape?: ShapeView | null): void;
  /** The same model, more of it checked: nothing moves, and nothing that is shown is lost. */
  fillAnatomy(anatomy: Anatomy): void;
  /**
   * `positions` counts the tokens whose activations are recorded. The values of the first `kept` tokens stay, even if
   * they came from another recording, which begins with the same tokens.
   */
  setTokens(tokens: Token[], promptCount: number, positions: number, kept: number): void;
  /** False: the scene has no room for all of it while so much else is wanted. */
  setMatrix(matrix: Matrix): boolean;
  /** Rows along `pos` (or `query`, whose rows have `stop` keys), in the site's axis order; with `lead`, of one head alone. */
  appendRows(address: string, start: number, stop: number, values: Float32Array, lead?: number): void;
  setDistribution(distribution: Distribution | null): void;
  /** What mattered for one decision: the words along the spine, arcs, the stream's size, what parts add. */
  setReading(reading: Reading | null): void;
  /** All effects of this reading that are known so far: what parts are worth. */
  setEffects(effects: Effects | null): void;
  /** Parts are off: words along the spine and the skyline are those without them. */
  setWithout(without: Without | null): void;
  /** By what parts are lit. */
  setLit(lit: "worth" | "adds"): void;
  /** Follows a token: the camera goes down its column to this stop, and all else fades. Null ends it. */
  setRide(stop: RideStop | null): void;
  select(cell: Cell | null): void;
  hover(cell: Cell | null): void;
  highlight(addresses: string[]): void;
  /** Lines from the selected cell to what it was computed from. */
  operands(cells: Cell[]): void;
  fit(): void;
  /** Back to where the camera stood before the last step, and forth again. */
  undoView(): void;
  redoView(): void;
  /** Puts the camera there at once. */
  setView(pose: Pose): void;
  /** Moves the camera so that these tensors fill the view, or a cell stands in it; without any, the whole model does. */
  focus(addresses: string[], cell?: Cell): void;
  /** The pass of light, from the tokens to the prediction. */
  play(durationSecs?: number): void;
  scrub(fraction: number): void;
  setTheme(theme: PaletteName): void;
  setReducedMotion(reduced: boolean): void;
  /**
   * Until somebody moves the camera or clicks a cell, the whole model is fitted into what panels leave free. After that
   * the camera stays, and moves only if a panel would hide the selected cell.
   */
  setInsets(insets: Insets): void;
  /**
   * Where a cell's middle stands now, in CSS pixels from the canvas' top left corner, from afar too, where its block is
   * a card; null if it has no place.
   */
  placeOf(cell: Cell): { x: number; y: number } | null;
  /** The same of a part of the far view (`head.24.4`); null while that is not drawn. */
  placeOfPart(part: string): { x: number; y: number } | null;
  /** What is written in the picture now. */
  texts(): readonly string[];
  /** A matrix's colour scale and what it leaves out, for the legend; null while nothing is known of it. */
  legend(address: string): (Range & { scale: "diverging" | "probability" | "weight" }) | null;
  /** A cell's own value, if the scene has it as a number. */
  valueAt(cell: Cell): number | null;
  /** The pool that stands for a cell whose own value is not here. */
  poolAt(cell: Cell): Pool | null;
  /** How magnitudes become brightness, in all matrices. */
  setScaling(scaling: Scaling): void;
  /** These were asked for in vain; they will be asked for again. */
  setFailed(matrices: Pick<Wanted, "name" | "lead">[]): void;
  stats(): SceneStats;
  /** The picture as it is, at two pixels a CSS pixel, as PNG; null where it cannot be taken. */
  takePicture(): Promise<Blob | null>;
  resize(): void;
  dispose(): void;
}
