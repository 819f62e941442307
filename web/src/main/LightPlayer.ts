import type { Scene } from "../scene/Scene";
import type { AppStore } from "../state/createAppStore";

/** Long enough to follow from block to block, short enough not to be waited for. */
const DURATION_SECS = 2.6;

/** Lets the light run through the scene, and the slider of the pass run with it. */
export class LightPlayer {
  readonly #store: AppStore;
  readonly #scene: Scene;
  #frame = 0;

  constructor(store: AppStore, scene: Scene) {
    this.#store = store;
    this.#scene = scene;
  }

  play(): void {
    this.#scene.play(DURATION_SECS);
    // Who asks for less motion sees the end state at once.
    if (window.matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    cancelAnimationFrame(this.#frame);
    let startMs: number | null = null;
    const advance = (nowMs: number) => {
      startMs ??= nowMs;
      const light = Math.min(1, (nowMs - startMs) / 1000 / DURATION_SECS);
      this.#store.setState({ light });
      if (light < 1) this.#frame = requestAnimationFrame(advance);
    };
    this.#frame = requestAnimationFrame(advance);
  }

  scrub(fraction: number): void {
    cancelAnimationFrame(this.#frame);
    this.#store.setState({ light: fraction });
    this.#scene.scrub(fraction);
  }
}
