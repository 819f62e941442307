import { ABSENT_SCENE } from "../scene/absentScene";
import type { Insets } from "../scene/Insets";
import type { Scene } from "../scene/Scene";
import type { SceneState } from "../state/AppState";

/** As three.js asks for it, which finds this context on the canvas and takes it. */
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
  /** A new scene is there and knows nothing yet. */
  onScene(scene: Scene): void;
  onState(state: SceneState): void;
}

/**
 * Holds the scene on the page, and stands in where there is none: no WebGL 2, a context that was lost for good, a
 * frame that nobody sees. Others keep `scene`, whichever one is behind it.
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

  /** Draws on a new canvas, whatever became of the last one. */
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
    // A canvas that was left has its context taken away too, and reports that a moment later.
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
