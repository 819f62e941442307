import type { Pose } from "../layout/Camera";
import type { Cell } from "../layout/Cell";
import { isPartName, MOST_PARTS } from "../protocol/parsePart";
import type { AppState, Versus } from "./AppState";
import { DEFAULT_MAX_NEW_TOKENS, DEFAULT_SAMPLING } from "./createAppStore";
import { GIVEN_TEXT, type Recipe } from "./Recipe";
import { isSameRecipe, readRecipe, writeRecipe } from "./recipeInUrl";

/** More models side by side would each be too small to read. */
export const MOST_SHAPES = 3;

/** The part of the state that a link carries. With a `drawnSeed` a text is generated, else the prompt alone is run. */
export interface UrlState {
  /** A recording that is there already; it brings its model and its prompt along. */
  traceId: string | null;
  modelId: string | null;
  /** Models to draw from their configs, in place of one that runs. */
  shapeIds: readonly string[];
  prompt: string | null;
  given: Recipe;
  maxNewTokens: number;
  sampling: AppState["sampling"];
  drawnSeed: number | null;
  position: number | null;
  versus: Versus;
  /** Parts that are switched off at that position. */
  off: readonly string[];
  selection: Cell | null;
  /** Where somebody put the camera. */
  pose: Pose | null;
  /** The names of parts that are there and make no sense. */
  unread: readonly string[];
}

/** The query string for a state: only what differs from the defaults, readable, in a fixed order. */
export function writeUrl(state: AppState, modelId: string | null): string {
  const { sampling } = state;
  const selected = state.selection ? `${state.selection.address}:${state.selection.index.join(",")}` : null;
  if (state.shapes.length > 0)
    return joinQuery([
      ...state.shapes.map(({ shape_id }): [string, string] => ["shape", shape_id]),
      ["cell", selected],
    ]);
  const whatRan: [string, string | null][] = [
    ["model", modelId],
    ["prompt", state.prompt === "" ? null : state.prompt],
    ...writeRecipe(state.made?.given ?? GIVEN_TEXT),
    ["tokens", differs(state.maxNewTokens, DEFAULT_MAX_NEW_TOKENS)],
    ["temperature", differs(sampling.temperature, DEFAULT_SAMPLING.temperature)],
    ["top_k", differs(sampling.top_k, DEFAULT_SAMPLING.top_k)],
    ["top_p", differs(sampling.top_p, DEFAULT_SAMPLING.top_p)],
    ["min_p", differs(sampling.min_p, DEFAULT_SAMPLING.min_p)],
    ["typical_p", differs(sampling.typical_p, DEFAULT_SAMPLING.typical_p)],
    ["repetition_penalty", differs(sampling.repetition_penalty, DEFAULT_SAMPLING.repetition_penalty)],
    ["presence_penalty", differs(sampling.presence_penalty, DEFAULT_SAMPLING.presence_penalty)],
    ["frequency_penalty", differs(sampling.frequency_penalty, DEFAULT_SAMPLING.frequency_penalty)],
    ["seed", differs(sampling.seed, DEFAULT_SAMPLING.seed)],
    ["drawn", differs(state.drawnSeed, null)],
  ];
  const isMadeAgain = state.origin === "live" && state.linkedTraceId === null;
  const parts: [string, string | null][] = [
    ["trace", state.linkedTraceId],
    // An export and a link to a recording already say which one it is, so how to make it again is left out.
    ...(isMadeAgain ? whatRan : []),
    ["position", differs(state.position, null)],
    ["versus", typeof state.versus === "number" ? String(state.versus) : null],
    ["off", state.off.length > 0 ? state.off.join(",") : null],
    ["cell", selected],
    ["view", state.view.pose && writePose(state.view.pose)],
  ];
  return joinQuery(parts);
}

function joinQuery(parts: readonly (readonly [string, string | null])[]): string {
  const query = parts
    .filter((part): part is readonly [string, string] => part[1] !== null)
    .map(([name, value]) => `${name}=${encodeReadably(value)}`)
    .join("&");
  return query === "" ? "" : `?${query}`;
}

/** The state with the prompt and the settings of the recording on screen, whatever was typed or set since. */
export function asMade(state: AppState): AppState {
  if (state.tracePrompt === null || state.made === null) return state;
  const { maxNewTokens, sampling } = state.made;
  return { ...state, prompt: state.tracePrompt, maxNewTokens, sampling };
}

/** What an entry of the browser's history stands for: the model, the recording and the inspected matrix. */
export function placeOf(state: AppState, modelId: string): string {
  const { linkedTraceId, tracePrompt, drawnSeed, made, selection } = state;
  const recording = linkedTraceId ?? [
    tracePrompt,
    made?.given ?? GIVEN_TEXT,
    drawnSeed,
    drawnSeed === null ? null : made,
  ];
  return JSON.stringify([modelId, recording, selection?.address ?? null]);
}

/** Whether the recording on screen is the one that an address asks for. */
export function isMadeBy(state: AppState, url: UrlState): boolean {
  const given = state.made?.given ?? GIVEN_TEXT;
  if (!state.trace || state.linkedTraceId !== null || !isSameRecipe(given, url.given)) return false;
  if ((state.tracePrompt || null) !== url.prompt) return false;
  const { maxNewTokens, sampling } = url;
  if (state.drawnSeed === null || url.drawnSeed === null) return state.drawnSeed === url.drawnSeed;
  return (
    state.drawnSeed === url.drawnSeed &&
    writeUrl({ ...asMade(state), maxNewTokens, sampling }, null) === writeUrl(asMade(state), null)
  );
}

/** Reads a query string; what is missing or makes no sense is left at its default, and told of in `unread`. */
export function readUrl(search: string): UrlState {
  const query = new URLSearchParams(search);
  const unread: string[] = [];
  const known = <Value>(name: string, value: Value | null): Value | null => {
    if (value === null && query.get(name)) unread.push(name);
    return value;
  };
  const number = (name: string, range: Range) => known(name, readNumber(query, name, range));
  const cell = known("cell", parseCell(query.get("cell")));
  const given = readRecipe(query);
  const written = new Map(writeRecipe(given));
  for (const name of written.keys()) known(name, written.get(name) ?? null);
  return {
    traceId: query.get("trace"),
    modelId: query.get("model"),
    shapeIds: query.getAll("shape").filter((id) => id !== ""),
    prompt: query.get("prompt"),
    given,
    maxNewTokens: number("tokens", { from: 1, to: 1_000_000, whole: true }) ?? DEFAULT_MAX_NEW_TOKENS,
    sampling: {
      ...DEFAULT_SAMPLING,
      temperature: number("temperature", { from: 0, to: 100 }) ?? DEFAULT_SAMPLING.temperature,
      top_k: number("top_k", { from: 0, to: 1_000_000, whole: true }) ?? DEFAULT_SAMPLING.top_k,
      top_p: number("top_p", { from: 1e-6, to: 1 }) ?? DEFAULT_SAMPLING.top_p,
      min_p: number("min_p", { from: 0, to: 1 }) ?? DEFAULT_SAMPLING.min_p,
      typical_p: number("typical_p", { from: 1e-6, to: 1 }) ?? DEFAULT_SAMPLING.typical_p,
      repetition_penalty:
        number("repetition_penalty", { from: 1e-6, to: 100 }) ?? DEFAULT_SAMPLING.repetition_penalty,
      presence_penalty: number("presence_penalty", { from: -2, to: 2 }) ?? DEFAULT_SAMPLING.presence_penalty,
      frequency_penalty:
        number("frequency_penalty", { from: -2, to: 2 }) ?? DEFAULT_SAMPLING.frequency_penalty,
      seed: number("seed", { from: 0, to: Number.MAX_SAFE_INTEGER, whole: true }),
    },
    drawnSeed: number("drawn", { from: 0, to: Number.MAX_SAFE_INTEGER, whole: true }),
    position: number("position", { from: 0, to: Number.MAX_SAFE_INTEGER, whole: true }),
    versus: readNumber(query, "versus", { from: 0, to: Number.MAX_SAFE_INTEGER, whole: true }) ?? "mean",
    off: [...new Set(query.get("off")?.split(",").filter(isPartName))].slice(0, MOST_PARTS),
    selection: cell,
    pose: known("view", parsePose(query.get("view"))),
    unread,
  };
}

function differs(value: number | null, standard: number | null): string | null {
  return value === standard || value === null ? null : String(value);
}

/** Percent-encodes what must be; spaces become `+`, and the marks our own values use stay as they are. */
function encodeReadably(value: string): string {
  return encodeURIComponent(value)
    .replaceAll("%20", "+")
    .replaceAll("%2F", "/")
    .replaceAll("%3A", ":")
    .replaceAll("%2C", ",")
    .replaceAll("%3F", "?");
}

interface Range {
  from: number;
  to: number;
  whole?: boolean;
}

function readNumber(query: URLSearchParams, name: string, { from, to, whole = false }: Range): number | null {
  const text = query.get(name);
  if (text === null || text.trim() === "") return null;
  const value = Number(text);
  if (!Number.isFinite(value) || value < from || value > to) return null;
  return whole && !Number.isInteger(value) ? null : value;
}

function parseCell(text: string | null): Cell | null {
  const match = text?.match(/^(.+):(\d+(?:,\d+)*)$/);
  if (!match?.[1] || !match[2]) return null;
  return { address: match[1], index: match[2].split(",").map(Number) };
}

/** Five digits show the same picture on any screen, and keep a link short. */
function writePose({ target, distance, yaw, pitch }: Pose): string {
  return [...target, distance, yaw, pitch].map((value) => Number(value.toPrecision(5))).join(",");
}

function parsePose(text: string | null): Pose | null {
  const numbers = text?.split(",").map(Number) ?? [];
  const [x, y, z, distance, yaw, pitch] = numbers;
  const isPose = numbers.length === 6 && numbers.every(Number.isFinite) && (distance ?? 0) > 0;
  if (!isPose || x === undefined || y === undefined || z === undefined) return null;
  return { target: [x, y, z], distance: distance ?? 1, yaw: yaw ?? 0, pitch: pitch ?? 0 };
}
