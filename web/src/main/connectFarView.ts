import type { Scene, SceneOptions } from "../scene/Scene";
import type { AppState } from "../state/AppState";
import type { AppStore } from "../state/createAppStore";
import { askAgainst, toggleOff } from "../state/decision";
import { findShapePart } from "../state/findShapePart";
import { stopsOf } from "../state/rideStops";
import { watchState } from "../state/watchState";

/** What pointing and clicking do in the far view; `cornerOf` is the canvas' top left corner in the window. */
export function farViewEvents(
  store: AppStore,
  cornerOf: () => { x: number; y: number },
): Pick<SceneOptions, "onPart" | "onPartClick" | "onBar" | "onTile"> {
  return {
    onPart(part, at) {
      const corner = cornerOf();
      const hoveredPart = part === null ? null : { part, at: { x: at.x + corner.x, y: at.y + corner.y } };
      store.setState({ hoveredPart });
    },
    onPartClick: (part) =>
      store.setState((state) => (state.shapes.length > 0 ? openWeight(state, part) : toggleOff(state, part))),
    onBar: (tokenId) => store.setState((state) => askAgainst(state, tokenId)),
    onTile: (position) => store.setState({ position }),
  };
}

/** Without values there is nothing to switch off: a part opens the first of its weights, where one model stands alone. */
function openWeight({ shapes }: AppState, part: string): Partial<AppState> {
  const weight = shapes.length === 1 ? findShapePart(shapes, part)?.weights[0] : undefined;
  if (!weight) return {};
  const selection = { address: weight.name, index: weight.axes.map(() => 0) };
  return { selection, sheet: "inspector", hoveredPart: null };
}

/** What the far view shows: what of the store it depends on, and how the scene is told. */
const SHOWN: { of: (state: AppState) => unknown; tell: (scene: Scene, state: AppState) => void }[] = [
  { of: (state) => state.lit, tell: (scene, { lit }) => scene.setLit(lit) },
  { of: (state) => state.reading.value, tell: (scene, { reading }) => scene.setReading(reading.value) },
  { of: (state) => state.effects.value, tell: (scene, { effects }) => scene.setEffects(effects.value) },
  { of: (state) => state.without.value, tell: (scene, { without }) => scene.setWithout(without.value) },
  { of: (state) => state.ride, tell: showRide },
];

/** Tells a scene that has just been made what the far view shows. */
export function fillFarView(store: AppStore, scene: Scene): void {
  for (const { tell } of SHOWN) tell(scene, store.getState());
}

/** Keeps the far view of the scene in step with the store. */
export function watchFarView(store: AppStore, scene: Scene): void {
  for (const { of, tell } of SHOWN)
    watchState(
      store,
      (state) => [of(state)],
      (state) => tell(scene, state),
    );
}

function showRide(scene: Scene, state: AppState): void {
  const stop = state.ride === null ? undefined : stopsOf(state)[state.ride];
  scene.setRide(stop ? { boundary: stop.boundary, part: stop.part } : null);
}
