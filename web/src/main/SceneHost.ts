import { ABSENT_SCENE } from "../scene/absentScene";
import type { Insets } from "../scene/Insets";
import type { Scene } from "../scene/Scene";
import type { SceneState } from "../state/AppState";

/** The attributes that three.js would ask for: it then uses this context in place of one of its own. */
const CONTEXT: WebGLContextAttributes = {
  alpha: false,
  antialias: false,
  depth: true,
  powerPreference: "high-performance",
  premultipliedAlpha: true,
  preserveDrawingBuffer: false,
  stencil: false,
};
/** After a driver's restart or a sleep, browsers give a context back within a second or two, or not at all. */
const RESTORE_MS = 3_000;

export interface SceneHostOptions {
  /** Where the canvas stands. */
  stage: HTMLElement;
  label: string;
  create(canvas: HTMLCanvasElement): Scene;
  /** A new scene was made, and has to be told everything. */
  onScene(scene: Scene): void;
  onState(state: SceneState): void;
}

/**
 * Keeps the scene on the page. `scene` can be called at any time: it passes everything to the scene that is drawn, or
 * does nothing where none is, because there is no WebGL 2, the context was lost for good, or nobody sees the frame.
 */
export class SceneHost {
  readonly scene: Scene;
  readonly #options: SceneHostOptions;
  #current: Scene = ABSENT_SCENE;
  #canvas: HTMLCanvasElement | null = null;
  #context: WebGL2RenderingContext | null = null;
  #insets: Insets | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: SceneHostOptions) {
    this.#options = options;
    const setInsets = (insets: Insets) => {
      this.#insets = insets;
      this.#current.setInsets(insets);
    };
    this.scene = new Proxy(ABSENT_SCENE, {
      get: (_, name: keyof Scene) => (name === "setInsets" ? setInsets : this.#current[name]),
    });
  }

  /** Its top left corner in the window, in CSS pixels. */
  get corner(): { x: number; y: number } {
    const { left, top } = this.#options.stage.getBoundingClientRect();
    return { x: left, y: top };
  }

  /** Makes a new scene on a new canvas, and removes the last one. */
  draw(): void {
    this.#leave();
    const { stage, label, create, onScene, onState } = this.#options;
    const canvas = document.createElement("canvas");
    canvas.id = "scene";
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", label);
    stage.replaceChildren(canvas);
    this.#canvas = canvas;
    this.#context = canvas.getContext("webgl2", CONTEXT);
    if (!this.#context || this.#context.isContextLost()) {
      this.#leave();
      onState("absent");
      return;
    }
    // The canvas before loses its context too, and says so a moment later: that is ignored.
    canvas.addEventListener("webglcontextlost", () => {
      if (canvas !== this.#canvas) return;
      canvas.style.opacity = "0";
      this.#waitForContext();
    });
    canvas.addEventListener("webglcontextrestored", () => {
      if (canvas !== this.#canvas) return;
      canvas.style.opacity = "";
      clearTimeout(this.#timer);
      onState("drawn");
    });
    try {
      this.#current = create(canvas);
    } catch (error) {
      console.error("the scene could not be made", error);
      this.#leave();
      onState("absent");
      return;
    }
    if (this.#insets) this.#current.setInsets(this.#insets);
    onScene(this.#current);
    onState("drawn");
  }

  /** Gives the context up: browsers keep about sixteen of them, and take the oldest from whoever has it. */
  rest(): void {
    this.#leave();
    this.#options.onState("resting");
  }

  #waitForContext(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#options.onState("lost"), RESTORE_MS);
  }

  #leave(): void {
    clearTimeout(this.#timer);
    const context = this.#context;
    this.#current.dispose();
    this.#current = ABSENT_SCENE;
    this.#canvas?.remove();
    this.#canvas = null;
    this.#context = null;
    if (context && !context.isContextLost()) context.getExtension("WEBGL_lose_context")?.loseContext();
  }
}
