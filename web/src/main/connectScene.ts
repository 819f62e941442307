import type { StoreSource } from "../data/Source";
import type { Cell } from "../layout/Cell";
import type { Explanation } from "../protocol/schema.generated";
import { createGlassScene } from "../scene/GlassScene";
import type { Scene } from "../scene/Scene";
import type { AppState, LegendScale } from "../state/AppState";
import type { AppStore } from "../state/createAppStore";
import { isSameModel } from "../state/fillAnatomy";
import { hasRecording, isRecorded, isSettled, whyRefused } from "../state/selectors";
import { sharedPrefix } from "../state/sharedPrefix";
import { watchState } from "../state/watchState";
import { LightPlayer } from "./LightPlayer";
import { SceneHost } from "./SceneHost";
import { Tensors } from "./Tensors";
import { watchVisibility } from "./watchVisibility";

/** Shown in the legend while no cell is pointed at: the stream that everything reads from and writes to. */
const LEGEND_ADDRESS = "resid_post.0";
/** The light waits for numbers at most this long. */
const LONGEST_DARKNESS_MS = 1_500;

export interface ConnectedScene {
  scene: Scene;
  tensors: Tensors;
  light: LightPlayer;
  /** Draws the scene on a new canvas, after its context was lost. */
  redraw(): void;
}

/** Puts the scene on the stage and keeps it and the store in step. */
export function connectScene(
  store: AppStore,
  source: StoreSource,
  stage: HTMLElement,
  label: string,
): ConnectedScene {
  const reducedMotion = window.matchMedia("(prefers-reduced-motion: reduce)");
  const tensors = new Tensors(store, source, () => scene, takeArrival);
  const host = new SceneHost({
    stage,
    label,
    create: (canvas) =>
      createGlassScene(canvas, {
        theme: store.getState().theme,
        reducedMotion: reducedMotion.matches,
        onHover(cell, at) {
          const corner = host.corner;
          const inWindow = { x: at.x + corner.x, y: at.y + corner.y };
          const shown = cell && isTold(cell);
          store.setState({ hover: shown ? { cell, at: inWindow, value: tensors.valueAt(cell) } : null });
        },
        onSelect(cell) {
          if (cell && !isTold(cell)) return;
          // The inspector says more, and opening it moves the scene from under the pointer.
          store.setState({ selection: cell, hover: null, ...(cell ? { sheet: "inspector" as const } : {}) });
        },
        onWanted: (wanted) => tensors.want(wanted),
      }),
    onScene: fill,
    onState: (sceneState) => store.setState({ sceneState, hover: null }),
  });
  const { scene } = host;

  /** Tells a scene that has just been made everything that the page shows. */
  function fill(made: Scene): void {
    const state = store.getState();
    made.setAnatomy(state.anatomy);
    showTokens(state, state);
    made.setDistribution(state.distribution.value);
    made.select(state.selection);
    made.operands(operandCells(state.explanation.value));
    tensors.fillScene();
  }

  /** Whether the page can say something about a cell: its value, or why there is none. */
  function isTold(cell: Cell): boolean {
    const state = store.getState();
    return isRecorded(state, cell) || whyRefused(state.anatomy, cell.address) !== null;
  }

  const light = new LightPlayer(store, scene);

  /** Set while the pass of light waits for the numbers, since without them it shows nothing. */
  let waitsForLight: ReturnType<typeof setTimeout> | undefined;

  function playWhenThere(): void {
    clearTimeout(waitsForLight);
    waitsForLight = setTimeout(playNow, LONGEST_DARKNESS_MS);
  }

  function playNow(): void {
    clearTimeout(waitsForLight);
    waitsForLight = undefined;
    light.play();
  }

  function takeArrival(): void {
    refreshLegend();
    if (waitsForLight !== undefined && tensors.isComplete) playNow();
  }

  function refreshLegend(): void {
    const state = store.getState();
    if (state.hover) {
      const value = tensors.valueAt(state.hover.cell);
      if (value !== state.hover.value) store.setState({ hover: { ...state.hover, value } });
    }
    const pointed = state.hover?.cell.address ?? state.selection?.address ?? LEGEND_ADDRESS;
    const legend = readLegend(pointed);
    const inspectedLegend = readLegend(state.selection?.address ?? null);
    if (!isSameLegend(legend, state.legend)) store.setState({ legend });
    if (!isSameLegend(inspectedLegend, state.inspectedLegend)) store.setState({ inspectedLegend });
  }

  function readLegend(address: string | null): LegendScale | null {
    const legend = address === null ? null : scene.legend(address);
    return legend && address !== null ? { ...legend, address } : null;
  }

  function showTokens({ trace }: AppState, previous: AppState): void {
    const kept = sharedPrefix(previous.trace, trace);
    scene.setTokens(trace?.tokens ?? [], trace?.prompt_count ?? 0, trace?.positions ?? 0, kept);
  }

  watchState(
    store,
    (state) => [state.anatomy],
    ({ anatomy }, previous) => {
      if (anatomy && previous.anatomy && isSameModel(previous.anatomy, anatomy)) {
        scene.fillAnatomy(anatomy);
        return;
      }
      scene.setAnatomy(anatomy);
      tensors.forgetModel();
    },
  );
  watchState(
    store,
    (state) => [state.trace?.tokens, state.trace?.prompt_count, state.trace?.positions],
    (state, previous) => {
      showTokens(state, previous);
      if (state.activity === "generating") tensors.catchUp();
    },
  );
  watchState(
    store,
    (state) => [state.trace?.id, state.trace?.rewritten, hasRecording(state), isSettled(state)],
    (state, previous) => {
      tensors.refreshRecording();
      // A text that continues what is shown gets no pass of light: its words glow as they come.
      const isNew = tensors.isNew && (state.trace?.id !== previous.trace?.id || !hasRecording(previous));
      if (hasRecording(state) && isNew) playWhenThere();
    },
  );
  watchState(
    store,
    (state) => [state.distribution.value],
    (state) => scene.setDistribution(state.distribution.value),
  );
  watchState(
    store,
    (state) => [state.selection],
    (state) => scene.select(state.selection),
  );
  watchState(
    store,
    (state) => [state.explanation.value],
    (state) => scene.operands(operandCells(state.explanation.value)),
  );
  watchState(
    store,
    (state) => [state.theme],
    (state) => scene.setTheme(state.theme),
  );
  watchState(store, (state) => [state.hover?.cell, state.selection, state.trace], refreshLegend);
  reducedMotion.addEventListener("change", () => scene.setReducedMotion(reducedMotion.matches));
  new ResizeObserver(() => scene.resize()).observe(stage);
  watchVisibility(host, stage);
  return { scene, tensors, light, redraw: () => host.draw() };
}

function isSameLegend(one: LegendScale | null, other: LegendScale | null): boolean {
  return one?.address === other?.address && one?.limit === other?.limit && one?.scale === other?.scale;
}

/** The cells an explanation names, without repeats. */
function operandCells(explanation: Explanation | null): Cell[] {
  const cells = new Map<string, Cell>();
  for (const term of explanation?.terms ?? []) {
    for (const { name, index } of term.operands) cells.set(`${name}:${index}`, { address: name, index });
  }
  return [...cells.values()];
}
