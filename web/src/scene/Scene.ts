import type { Cell } from "../layout/Cell";
import type { Matrix } from "../layout/Matrix";
import type { Anatomy, Distribution, Token } from "../protocol/schema.generated";
import type { Insets } from "./Insets";
import type { PaletteName } from "./PaletteName";
import type { Wanted } from "./Wanted";

export interface SceneOptions {
  theme: PaletteName;
  reducedMotion: boolean;
  /** `at` is in CSS pixels from the canvas' top left corner. */
  onHover(cell: Cell | null, at: { x: number; y: number }): void;
  onSelect(cell: Cell | null): void;
  /** Called when another set of tensors can be seen: the data layer fetches these. */
  onWanted(names: Wanted[]): void;
}

export interface SceneStats {
  frames: number;
  drawCalls: number;
  triangles: number;
  textureBytes: number;
  /** How many tensors have values. */
  tensors: number;
  labels: number;
  lastReason: string;
}

export interface Scene {
  setAnatomy(anatomy: Anatomy | null): void;
  /** The same model, more of it checked: nothing moves, and nothing that is shown is lost. */
  fillAnatomy(anatomy: Anatomy): void;
  /**
   * `positions` counts the tokens whose activations are recorded. The values of the first `kept` tokens stay, even if
   * they came from another recording, which begins with the same tokens.
   */
  setTokens(tokens: Token[], promptCount: number, positions: number, kept: number): void;
  setMatrix(matrix: Matrix): void;
  /** Rows along `pos` (or `query`, whose rows have `stop` keys), in the site's axis order. */
  appendRows(address: string, start: number, stop: number, values: Float32Array): void;
  setDistribution(distribution: Distribution | null): void;
  select(cell: Cell | null): void;
  hover(cell: Cell | null): void;
  highlight(addresses: string[]): void;
  /** Lines from the selected cell to what it was computed from. */
  operands(cells: Cell[]): void;
  fit(): void;
  /** Moves the camera so that these tensors fill the view; without any, the whole model does. */
  focus(addresses: string[]): void;
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
  /** Where a cell's middle stands now, in CSS pixels from the canvas' top left corner; null if it is not drawn. */
  placeOf(cell: Cell): { x: number; y: number } | null;
  /** The value at full brightness of a matrix's colour scale, for the legend; null while it is unknown. */
  legend(address: string): { scale: "diverging" | "probability"; limit: number } | null;
  stats(): SceneStats;
  resize(): void;
  dispose(): void;
}
