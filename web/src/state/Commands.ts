import type { Cell } from "../layout/Cell";

/** What can be saved that takes the scene or the store of numbers to make. */
export type SavedFile = "png" | "csv" | "npy";

/** What panels can ask for beyond changing the store: everything that reaches the server or the scene. */
export interface Commands {
  openModel(modelId: string): void;
  /** Opens a model over the same weights, and makes the recording on screen with it. */
  switchAdapter(modelId: string): void;
  /** Draws these models from their configs, side by side where there are several. */
  openShapes(shapeIds: readonly string[]): void;
  /** Finds out which shapes can be had by name. */
  listShapes(): void;
  /** Records the prompt alone. */
  run(): void;
  generate(): void;
  /** Makes the recording on screen once more, with the same prompt, settings and seed. */
  runAgain(): void;
  /**
   * Another recording that begins as the one on screen does, up to `position` (by default its end), and goes on with the
   * token `forced`, if one is named, and at most `count` in all. Both can be gone back to.
   */
  writeOn(from?: { position?: number; forced?: number; count?: number }): void;
  /** Shows a recording of this page again. */
  goBackTo(traceId: string): void;
  stop(): void;
  /** Saves what is on screen as a file; resolves to the sentence to show where it cannot. */
  save(file: SavedFile): Promise<string | null>;
  /** Asks again after the server was out of reach. */
  reconnect(): void;
  /** Sends this key from now on, and tries again what was refused. */
  unlock(key: string): void;
  /** Draws the scene anew, after the browser took its context. */
  redraw(): void;
  fit(): void;
  /** Back to where the camera stood before the last step, and forth again. */
  undoView(): void;
  redoView(): void;
  /** Brings these tensors into view, or a cell of the one named. */
  focus(addresses: string[], cell?: Cell): void;
  highlight(addresses: string[]): void;
  /** Shows in the scene the cell that a panel's pointer is on. */
  pointAt(cell: Cell | null): void;
  /** The pass of light, once from top to bottom. */
  play(): void;
  scrub(fraction: number): void;
}
