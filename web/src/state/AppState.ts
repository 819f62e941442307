import type { Pose } from "../layout/Camera";
import type { Cell } from "../layout/Cell";
import type { Range } from "../layout/Magnitudes";
import type { Matrix } from "../layout/Matrix";
import type { Pool } from "../layout/Pool";
import type { Scaling } from "../layout/Scaling";
import type { PromptToken } from "../protocol/PromptToken";
import type {
  Anatomy,
  Distribution,
  Effects,
  Explanation,
  Heads,
  LoadProgress,
  ModelShape,
  ModelSummary,
  Reading,
  Sampling,
  ShapeSummary,
  Step,
  Token,
  TraceState,
  Without,
} from "../protocol/schema.generated";
import type { Recipe } from "./Recipe";

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
  /** It is there, but could not be loaded: its shape can be drawn from its config. */
  hasShape?: boolean;
}

/** How a recording was asked for, apart from the text of its prompt and its seed. */
export interface Made {
  maxNewTokens: number;
  sampling: Sampling;
  given: Recipe;
}

export interface Hover {
  cell: Cell;
  /** CSS pixels from the top left corner of the window. */
  at: { x: number; y: number };
  /** Null while it is on its way. */
  value: number | null;
  /** What the scene shows in its place meanwhile. */
  pool: Pool | null;
}

export interface LegendScale extends Range {
  scale: "diverging" | "probability" | "weight";
  address: string;
}

/** A distribution together with its recording and the token that it follows. */
export interface ShownDistribution extends Distribution {
  traceId: string;
  after: Token;
}

/** What a decision is measured against: the average word, or another one, by its id. */
export type Versus = Reading["versus"];

/** What lights the parts of the far view: what each is worth, by test, or what it adds. */
export type Lit = "worth" | "adds";

/** A part of the far view under the pointer, by its name on the wire (`head.24.4`). */
export interface HoveredPart {
  part: string;
  /** CSS pixels from the top left corner of the window. */
  at: { x: number; y: number };
}

/** One head of one block. */
export interface HeadPlace {
  block: number;
  head: number;
}

/** What a head reads over the end of the text, [query, key], both axes from position `start` to before `stop`. */
export interface HeadPattern extends HeadPlace {
  traceId: string;
  start: number;
  stop: number;
  values: Float32Array;
}

export type Activity = "idle" | "starting" | "recording" | "generating" | "stopping";
/** "absent": there is no WebGL 2; "lost": the context was taken away for good; "resting": nobody sees the frame. */
export type SceneState = "drawn" | "absent" | "lost" | "resting";
export type ThemeChoice = "system" | "dark" | "light";
export type Theme = "dark" | "light";
export type PanelName = "prompt" | "sampling" | "outline" | "heads" | "guide" | "how";
/** On a narrow screen one panel is open at a time, as a sheet; "none" shows the scene. */
export type SheetName = "prompt" | "sampling" | "inspector" | "outline" | "heads" | "none";

/** Where the camera rests: the pose that somebody chose, or null where all is fitted in; and whether steps can be retraced. */
export interface ShownView {
  pose: Pose | null;
  canUndo: boolean;
  canRedo: boolean;
}

/** Why something that a link names is not shown. */
export type LinkFault =
  | { key: "unread"; names: string }
  | { key: "position"; position: number; count: number }
  | { key: "recording"; message: string };

/** A recording of this page that one can go back to, as it was on screen. */
export type Kept = { trace: TraceState } & Pick<
  AppState,
  "tracePrompt" | "drawnSeed" | "made" | "linkedTraceId" | "linkedPrompt" | "steps" | "chatting"
>;

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
  /** Models that are drawn from their configs, without weights; `anatomy` is then the one, or stands for them together. */
  shapes: readonly ModelShape[];
  /** The shapes that can be had by name; null until somebody has looked for them. */
  shapeOffers: readonly ShapeSummary[] | null;
  opening: Opening | null;
  modelFailure: ModelFailure | null;

  prompt: string;
  /** The prompt box holds a message of a conversation, not a text to be written on. */
  chatting: boolean;
  /** The next message begins a conversation, whatever is on screen. */
  beginsAnew: boolean;
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
  /** The recordings of this page that one can go back to, oldest first; once it is left, the one on screen too. */
  kept: readonly Kept[];
  /** By the position the token stands at. */
  steps: Readonly<Record<number, Step>>;
  runError: string | null;
  linkFault: LinkFault | null;

  /** The selected position; null stands for the last recorded one. */
  position: number | null;
  /** "loading" also while `value` is that of an earlier question. */
  distribution: Loadable<ShownDistribution>;

  /** What mattered for the decision at the shown position. "loading" also while `value` is that of an earlier one. */
  reading: Loadable<Reading>;
  /** What its parts are worth: all that is tested so far; "loading" until that is everything. */
  effects: Loadable<Effects>;
  versus: Versus;
  /** The parts that are switched off together, by name. They belong to one decision: another one starts with none. */
  off: readonly string[];
  /** The decision without them. */
  without: Loadable<Without>;
  lit: Lit;
  /** The stop at which somebody follows the token; null if nobody does. */
  ride: number | null;
  hoveredPart: HoveredPart | null;

  /** Somebody looks at all heads at a glance, so that their scores are wanted. */
  headsWanted: boolean;
  /** "loading" also while `value` is that of an earlier text, or lacks blocks. Null once an export holds none. */
  heads: Loadable<Heads>;
  /** The head that is looked at more closely. */
  shownHead: HeadPlace | null;
  headPattern: Loadable<HeadPattern>;

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
  /** The camera is near enough that matrices are drawn; from afar the reading alone is. */
  isNear: boolean;
  /** Where the camera rests. */
  view: ShownView;
  /** The pass of light, 0 at the tokens, 1 at the prediction. */
  light: number;

  themeChoice: ThemeChoice;
  theme: Theme;
  scaling: Scaling;
  language: string;
  /** Large type, to be read from the back of a room. */
  large: boolean;
  panels: Readonly<Record<PanelName, boolean>>;
  sheet: SheetName;
  /** The search is open. */
  searching: boolean;
}
