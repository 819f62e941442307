import { createStore, type StoreApi } from "zustand/vanilla";
import type { Sampling } from "../protocol/schema.generated";
import { type AppState, EMPTY } from "./AppState";

export type AppStore = StoreApi<AppState>;

/** As the server's own defaults, so that an untouched page and a bare request agree. */
export const DEFAULT_SAMPLING: Sampling = {
  temperature: 0.7,
  top_k: 0,
  top_p: 0.95,
  min_p: 0,
  typical_p: 1,
  repetition_penalty: 1,
  presence_penalty: 0,
  frequency_penalty: 0,
  seed: null,
  constraint: null,
};

export const DEFAULT_MAX_NEW_TOKENS = 24;

/** The part of the state that belongs to one recording of one model; another model starts with this. */
export const NOTHING_RECORDED = {
  trace: null,
  tracePrompt: null,
  drawnSeed: null,
  made: null,
  linkedTraceId: null,
  linkedPrompt: null,
  forgotten: false,
  beginsAnew: false,
  kept: [],
  steps: {},
  runError: null,
  linkFault: null,
  position: null,
  distribution: EMPTY,
  reading: EMPTY,
  effects: EMPTY,
  versus: "mean",
  off: [],
  without: EMPTY,
  ride: null,
  hoveredPart: null,
  heads: EMPTY,
  shownHead: null,
  headPattern: EMPTY,
  hover: null,
  selection: null,
  inspected: EMPTY,
  exactValue: null,
  explanation: EMPTY,
  legend: null,
  inspectedLegend: null,
  heatMapLegend: null,
} satisfies Partial<AppState>;

const INITIAL_STATE: AppState = {
  origin: "live",
  damage: null,
  keyWanted: null,
  connection: "connecting",
  models: [],
  anatomy: null,
  shapes: [],
  shapeOffers: null,
  opening: null,
  modelFailure: null,
  prompt: "",
  chatting: false,
  liveTokens: { ...EMPTY, prompt: "" },
  maxNewTokens: DEFAULT_MAX_NEW_TOKENS,
  sampling: DEFAULT_SAMPLING,
  activity: "idle",
  ...NOTHING_RECORDED,
  headsWanted: false,
  sceneState: "drawn",
  view: { pose: null, canUndo: false, canRedo: false },
  light: 1,
  isNear: false,
  lit: "worth",
  themeChoice: "system",
  theme: "dark",
  scaling: { shared: false, logarithmic: false },
  language: "en",
  large: false,
  panels: { prompt: true, sampling: true, outline: false, heads: false, guide: false, how: true },
  sheet: "prompt",
  searching: false,
};

export function createAppStore(initial: Partial<AppState> = {}): AppStore {
  return createStore<AppState>(() => ({ ...INITIAL_STATE, ...initial }));
}
