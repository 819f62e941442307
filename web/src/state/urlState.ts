import type { Cell } from "../layout/Cell";
import type { AppState } from "./AppState";
import { DEFAULT_MAX_NEW_TOKENS, DEFAULT_SAMPLING } from "./createAppStore";

/** The part of the state that a link carries. With a `drawnSeed` a text is generated, else the prompt alone is run. */
export interface UrlState {
  /** A recording that is there already; it brings its model and its prompt along. */
  traceId: string | null;
  modelId: string | null;
  prompt: string | null;
  maxNewTokens: number;
  sampling: AppState["sampling"];
  drawnSeed: number | null;
  position: number | null;
  selection: Cell | null;
}

/** The query string for a state: only what differs from the defaults, readable, in a fixed order. */
export function writeUrl(state: AppState, modelId: string | null): string {
  const { sampling } = state;
  const whatRan: [string, string | null][] = [
    ["model", modelId],
    ["prompt", state.prompt === "" ? null : state.prompt],
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
    ["cell", state.selection ? `${state.selection.address}:${state.selection.index.join(",")}` : null],
  ];
  const query = parts
    .filter((part): part is [string, string] => part[1] !== null)
    .map(([name, value]) => `${name}=${encodeReadably(value)}`)
    .join("&");
  return query === "" ? "" : `?${query}`;
}

/** The state with the prompt and the settings of the recording on screen, whatever was typed or set since. */
export function asMade(state: AppState): AppState {
  if (state.tracePrompt === null || state.made === null) return state;
  return { ...state, prompt: state.tracePrompt, ...state.made };
}

/** What an entry of the browser's history stands for: the model, the recording and the inspected matrix. */
export function placeOf(state: AppState, modelId: string): string {
  const { linkedTraceId, tracePrompt, drawnSeed, made, selection } = state;
  const recording = linkedTraceId ?? [tracePrompt, drawnSeed, drawnSeed === null ? null : made];
  return JSON.stringify([modelId, recording, selection?.address ?? null]);
}

/** Whether the recording on screen is the one that an address asks for. */
export function isMadeBy(state: AppState, url: UrlState): boolean {
  if (!state.trace || state.linkedTraceId !== null || state.tracePrompt !== url.prompt) return false;
  const { maxNewTokens, sampling } = url;
  if (state.drawnSeed === null || url.drawnSeed === null) return state.drawnSeed === url.drawnSeed;
  return (
    state.drawnSeed === url.drawnSeed &&
    writeUrl({ ...asMade(state), maxNewTokens, sampling }, null) === writeUrl(asMade(state), null)
  );
}

/** Reads a query string; what is missing or makes no sense is left at its default. */
export function readUrl(search: string): UrlState {
  const query = new URLSearchParams(search);
  return {
    traceId: query.get("trace"),
    modelId: query.get("model"),
    prompt: query.get("prompt"),
    maxNewTokens:
      readNumber(query, "tokens", { from: 1, to: 1_000_000, whole: true }) ?? DEFAULT_MAX_NEW_TOKENS,
    sampling: {
      ...DEFAULT_SAMPLING,
      temperature: readNumber(query, "temperature", { from: 0, to: 100 }) ?? DEFAULT_SAMPLING.temperature,
      top_k: readNumber(query, "top_k", { from: 0, to: 1_000_000, whole: true }) ?? DEFAULT_SAMPLING.top_k,
      top_p: readNumber(query, "top_p", { from: 1e-6, to: 1 }) ?? DEFAULT_SAMPLING.top_p,
      min_p: readNumber(query, "min_p", { from: 0, to: 1 }) ?? DEFAULT_SAMPLING.min_p,
      typical_p: readNumber(query, "typical_p", { from: 1e-6, to: 1 }) ?? DEFAULT_SAMPLING.typical_p,
      repetition_penalty:
        readNumber(query, "repetition_penalty", { from: 1e-6, to: 100 }) ??
        DEFAULT_SAMPLING.repetition_penalty,
      presence_penalty:
        readNumber(query, "presence_penalty", { from: -2, to: 2 }) ?? DEFAULT_SAMPLING.presence_penalty,
      frequency_penalty:
        readNumber(query, "frequency_penalty", { from: -2, to: 2 }) ?? DEFAULT_SAMPLING.frequency_penalty,
      seed: readNumber(query, "seed", { from: 0, to: Number.MAX_SAFE_INTEGER, whole: true }),
    },
    drawnSeed: readNumber(query, "drawn", { from: 0, to: Number.MAX_SAFE_INTEGER, whole: true }),
    position: readNumber(query, "position", { from: 0, to: Number.MAX_SAFE_INTEGER, whole: true }),
    selection: parseCell(query.get("cell")),
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

function readNumber(
  query: URLSearchParams,
  name: string,
  { from, to, whole = false }: { from: number; to: number; whole?: boolean },
): number | null {
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
