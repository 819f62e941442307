import type { StoreSource } from "../data/Source";
import type { Cell } from "../layout/Cell";
import { isShape } from "../layout/expandShape";
import type { Explanation } from "../protocol/schema.generated";
import { createGlassScene } from "../scene/GlassScene";
import type { Scene, SceneTexts } from "../scene/Scene";
import type { AppState, Hover, LegendScale } from "../state/AppState";
import type { AppStore } from "../state/createAppStore";
import { isSameModel } from "../state/fillAnatomy";
import { answerStart, hasRecording, isRecorded, isSettled, whyRefused } from "../state/selectors";
import { sharedPrefix } from "../state/sharedPrefix";
import { watchState } from "../state/watchState";
import { farViewEvents, fillFarView, watchFarView } from "./connectFarView";
import { LightPlayer } from "./LightPlayer";
import { SceneHost } from "./SceneHost";
import { Tensors } from "./Tensors";
import { viewShapes } from "./viewShapes";
import { watchVisibility } from "./watchVisibility";

/** Shown in the legend where nothing is near: the stream that everything reads from and writes to. */
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
  texts: SceneTexts,
): ConnectedScene {
  const reducedMotion = window.matchMedia("(prefers-reduced-motion: reduce)");
  const tensors = new Tensors(store, source, () => scene, takeArrival);
  let largest = LEGEND_ADDRESS;
  const host: SceneHost = new SceneHost({
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
          store.setState({ hover: shown ? { cell, at: inWindow, ...readCell(cell) } : null });
        },
        onSelect(cell) {
          if (cell && !isTold(cell)) return;
          // The inspector says more, and opening it moves the scene from under the pointer.
          store.setState({ selection: cell, hover: null, ...(cell ? { sheet: "inspector" as const } : {}) });
        },
        onView: (view) => store.setState({ view }),
        onWanted(wanted) {
          const isNear = wanted.length > 0;
          if (isNear !== store.getState().isNear) store.setState({ isNear });
          // While no cell is pointed at, the legend is that of what is largest.
          largest = wanted.find(({ kind }) => kind === "site")?.name ?? wanted[0]?.name ?? LEGEND_ADDRESS;
          refreshLegend();
          tensors.want(wanted);
        },
        ...farViewEvents(store, () => host.corner),
        texts,
      }),
    onScene: fill,
    onState: (sceneState) => store.setState({ sceneState, hover: null, hoveredPart: null }),
  });
  const { scene } = host;

  /** Tells a scene that has just been made everything that the page shows. */
  function fill(made: Scene): void {
    const state = store.getState();
    made.setScaling(state.scaling);
    made.setAnatomy(state.anatomy, viewShapes(state.shapes));
    showTokens(state, state);
    made.setDistribution(state.distribution.value);
    fillFarView(store, made);
    made.select(state.selection);
    made.operands(operandCells(state.explanation.value));
    tensors.fillScene();
  }

  /** What is known of a cell: its value, or only the pool that the scene shows it by. */
  function readCell(cell: Cell): Pick<Hover, "value" | "pool"> {
    const value = tensors.valueAt(cell);
    return { value, pool: value === null ? scene.poolAt(cell) : null };
  }

  /** Whether the page can say something about a cell: its value, or why there is none. */
  function isTold(cell: Cell): boolean {
    const state = store.getState();
    return (
      isShape(state.anatomy) || isRecorded(state, cell) || whyRefused(state.anatomy, cell.address) !== null
    );
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
      const { value, pool } = readCell(state.hover.cell);
      // What was read since the pointer came to rest stays.
      if (value !== null && value !== state.hover.value)
        store.setState({ hover: { ...state.hover, value, pool } });
    }
    const pointed = state.hover?.cell.address ?? state.selection?.address ?? largest;
    const legend = readLegend(pointed);
    const inspectedLegend = readLegend(state.selection?.address ?? null);
    if (!isSameLegend(legend, state.legend)) store.setState({ legend });
    if (!isSameLegend(inspectedLegend, state.inspectedLegend)) store.setState({ inspectedLegend });
  }

  function readLegend(address: string | null): LegendScale | null {
    const legend = address === null ? null : scene.legend(address);
    return legend && address !== null ? { ...legend, address } : null;
  }

  function showTokens(state: AppState, previous: AppState): void {
    const { trace } = state;
    const kept = sharedPrefix(previous.trace, trace);
    scene.setTokens(trace?.tokens ?? [], answerStart(state), trace?.positions ?? 0, kept);
  }

  watchState(
    store,
    (state) => [state.anatomy],
    ({ anatomy, shapes }, previous) => {
      if (anatomy && previous.anatomy && isSameModel(previous.anatomy, anatomy)) {
        scene.fillAnatomy(anatomy);
        return;
      }
      scene.setAnatomy(anatomy, viewShapes(shapes));
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
  watchState(
    store,
    (state) => [state.scaling],
    (state) => scene.setScaling(state.scaling),
  );
  watchState(
    store,
    (state) => [state.hover?.cell, state.selection, state.trace, state.scaling],
    refreshLegend,
  );
  watchFarView(store, scene);
  // From afar the reading is what the light waits for.
  watchState(
    store,
    (state) => [state.reading.value],
    ({ reading }) => {
      if (reading.value !== null && waitsForLight !== undefined && tensors.isComplete) playNow();
    },
  );
  reducedMotion.addEventListener("change", () => scene.setReducedMotion(reducedMotion.matches));
  new ResizeObserver(() => scene.resize()).observe(stage);
  watchVisibility(host, stage);
  return { scene, tensors, light, redraw: () => host.draw() };
}

function isSameLegend(one: LegendScale | null, other: LegendScale | null): boolean {
  return (["address", "scale", "limit", "largest", "clipped"] as const).every(
    (part) => one?.[part] === other?.[part],
  );
}

/** The cells an explanation names, without repeats. */
function operandCells(explanation: Explanation | null): Cell[] {
  const cells = new Map<string, Cell>();
  for (const term of explanation?.terms ?? []) {
    for (const { name, index } of term.operands) cells.set(`${name}:${index}`, { address: name, index });
  }
  return [...cells.values()];
}
