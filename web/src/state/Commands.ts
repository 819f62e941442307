import type { Cell } from "../layout/Cell";

/** What panels can ask for beyond changing the store: everything that reaches the server or the scene. */
export interface Commands {
  openModel(modelId: string): void;
  /** Records the prompt alone. */
  run(): void;
  generate(): void;
  /** Makes the recording on screen once more, with the same prompt, settings and seed. */
  runAgain(): void;
  stop(): void;
  /** Asks again after the server was out of reach. */
  reconnect(): void;
  /** Sends this key from now on, and tries again what was refused. */
  unlock(key: string): void;
  /** Draws the scene anew, after the browser took its context. */
  redraw(): void;
  fit(): void;
  focus(addresses: string[]): void;
  highlight(addresses: string[]): void;
  /** Shows in the scene the cell that a panel's pointer is on. */
  pointAt(cell: Cell | null): void;
  /** The pass of light, once from top to bottom. */
  play(): void;
  scrub(fraction: number): void;
}
