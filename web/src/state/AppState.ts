import type { Cell } from "../layout/Cell";
import type { Matrix } from "../layout/Matrix";
import type { PromptToken } from "../protocol/PromptToken";
import type {
  Anatomy,
  Distribution,
  Explanation,
  LoadProgress,
  ModelSummary,
  Sampling,
  Step,
  Token,
  TraceState,
} from "../protocol/schema.generated";

/** A value that comes from the server. The last one stays in `value` while the next is on its way. */
export interface Loadable<Value> {
  status: "empty" | "loading" | "ready" | "failed";
  value: Value | null;
  error: string | null;
}

export const EMPTY: Loadable<never> = { status: "empty", value: null, error: null };

/** The tokens of the prompt box; `prompt` is the text they belong to. */
export interface LiveTokens extends Loadable<PromptToken[]> {
  prompt: string;
}

/** The prompt of a recording that somebody else made. Its tokens may differ from those its text would have now. */
export interface LinkedPrompt {
  modelId: string;
  text: string;
  tokens: Token[];
}

/** A model that is being loaded; the one on screen stays until it is ready. */
export interface Opening {
  modelId: string;
  progress: LoadProgress | null;
}

export interface ModelFailure {
  modelId: string;
  message: string;
}

/** The settings of a recording, apart from its prompt and its seed. */
export interface Made {
  maxNewTokens: number;
  sampling: Sampling;
}

export interface Hover {
  cell: Cell;
  /** CSS pixels from the top left corner of the window. */
  at: { x: number; y: number };
  /** Null while it is on its way. */
  value: number | null;
}

export interface LegendScale {
  scale: "diverging" | "probability";
  limit: number;
  address: string;
}

/** A distribution together with its recording and the token that it follows. */
export interface ShownDistribution extends Distribution {
  traceId: string;
  after: Token;
}

export type Activity = "idle" | "starting" | "recording" | "generating" | "stopping";
/** "absent": there is no WebGL 2; "lost": the context was taken away for good; "resting": nobody sees the frame. */
export type SceneState = "drawn" | "absent" | "lost" | "resting";
export type ThemeChoice = "system" | "dark" | "light";
export type Theme = "dark" | "light";
export type PanelName = "prompt" | "sampling" | "outline" | "guide";
/** On a narrow screen one panel is open at a time, as a sheet; "none" shows the scene. */
export type SheetName = "prompt" | "sampling" | "inspector" | "outline" | "none";

export interface AppState {
  /** "exported": the page shows the files of one recording, and no server stands behind it. */
  origin: "live" | "exported";
  /** What is wrong with the files of an export; null if nothing is. */
  damage: string | null;
  /** The server wants an API key: it was given none, or one that it refused. */
  keyWanted: "missing" | "wrong" | null;
  /** "lost": the last request got no answer. */
  connection: "connecting" | "online" | "lost";
  models: ModelSummary[];
  anatomy: Anatomy | null;
  opening: Opening | null;
  modelFailure: ModelFailure | null;

  prompt: string;
  liveTokens: LiveTokens;
  maxNewTokens: number;
  sampling: Sampling;

  activity: Activity;
  trace: TraceState | null;
  /** The prompt text of the recording on screen. */
  tracePrompt: string | null;
  /** The seed the recording on screen was generated with; null if it is the prompt alone. */
  drawnSeed: number | null;
  /** The other settings that it was made with; null if the page did not make it. */
  made: Made | null;
  /** The recording on screen, if somebody else made it (a notebook, another program) and the link names it. */
  linkedTraceId: string | null;
  linkedPrompt: LinkedPrompt | null;
  /** The server was restarted and no longer has the recording on screen. What the page holds of it stays. */
  forgotten: boolean;
  /** By the position the token stands at. */
  steps: Readonly<Record<number, Step>>;
  runError: string | null;

  /** The selected position; null stands for the last recorded one. */
  position: number | null;
  /** "loading" also while `value` is that of an earlier question. */
  distribution: Loadable<ShownDistribution>;

  hover: Hover | null;
  selection: Cell | null;
  inspected: Loadable<Matrix>;
  /** The value of the selected cell where the inspected matrix is too coarse to hold it. */
  exactValue: { cell: Cell; value: number | null } | null;
  explanation: Loadable<Explanation>;
  legend: LegendScale | null;
  /** Of the inspected matrix, so that the heat map and the scene colour it alike. */
  inspectedLegend: LegendScale | null;
  /** Of the heat map as it is drawn, also where the scene does not draw the matrix. */
  heatMapLegend: LegendScale | null;
  sceneState: SceneState;
  /** The pass of light, 0 at the tokens, 1 at the prediction. */
  light: number;

  themeChoice: ThemeChoice;
  theme: Theme;
  language: string;
  panels: Readonly<Record<PanelName, boolean>>;
  sheet: SheetName;
}
