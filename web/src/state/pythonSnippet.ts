import type { AppState } from "./AppState";
import { DEFAULT_SAMPLING } from "./createAppStore";
import { GIVEN_TEXT } from "./Recipe";
import { findSite, findWeight, shownPosition } from "./selectors";

/**
 * A Python program that makes the recording on screen again through the package's own handle, token by token the same,
 * and prints what is looked at; null where nothing is recorded.
 */
export function pythonSnippet(state: AppState): string | null {
  const { trace, anatomy, selection } = state;
  if (!trace || !anatomy) return null;
  const asked = [...whatWasGiven(state), ...howItWasDrawn(state)].map((line) => `    ${line},`);
  const position = shownPosition(state);
  return [
    "import glassformer as gf",
    "",
    `model = gf.load(${asPython(anatomy.model_id)})  # a bundled name, a folder, or a hub id`,
    "t = model.trace(",
    ...asked,
    ")",
    "print(t.text)",
    ...(position === null ? [] : [`print(t.distribution(${position}, top=5))  # what could follow it`]),
    ...(selection ? whatIsLookedAt(state, selection.address, selection.index) : []),
    "",
  ].join("\n");
}

function whatWasGiven({ trace, made, tracePrompt }: AppState): string[] {
  const { tokenIds, messages, interventions } = made?.given ?? GIVEN_TEXT;
  const own = trace?.tokens.slice(0, trace.prompt_count).map((token) => token.id) ?? [];
  const changes = made ? interventions : (trace?.interventions ?? []);
  // What somebody else recorded is known by its ids.
  const ids = tokenIds ?? (made ? null : own);
  const given = ids
    ? `token_ids=${asPython(ids)}`
    : messages
      ? `messages=${asPython(messages)}`
      : asPython(tracePrompt ?? "");
  return [given, ...(changes.length > 0 ? [`interventions=${asPython(changes)}`] : [])];
}

function howItWasDrawn({ trace, made, drawnSeed }: AppState): string[] {
  const written = (trace?.tokens.length ?? 0) - (trace?.prompt_count ?? 0);
  const count = made ? (drawnSeed === null ? 0 : made.maxNewTokens) : written;
  if (count === 0) return [];
  const sampling = { ...(made?.sampling ?? trace?.sampling ?? DEFAULT_SAMPLING), seed: drawnSeed };
  const standard: Record<string, unknown> = DEFAULT_SAMPLING;
  const set = Object.entries(sampling).filter(
    ([name, value]) => name !== "forced_token_ids" && isSet(value) && value !== standard[name],
  );
  const forced = made?.given.forced ?? [];
  return [
    `max_new_tokens=${count}`,
    ...set.map(([name, value]) => `${name}=${asPython(value)}`),
    ...(forced.length > 0 ? [`forced_token_ids=${asPython(forced)}`] : []),
  ];
}

function isSet(value: unknown): boolean {
  return value !== null && !(typeof value === "object" && Object.keys(value).length === 0);
}

function whatIsLookedAt({ anatomy }: AppState, address: string, index: number[]): string[] {
  const name = asPython(address);
  if (findWeight(anatomy, address)) return [`print(float(model.weight(${name})[${index.join(", ")}]))`];
  const site = findSite(anatomy, address);
  if (!site) return [];
  const places = site.axes.map((axis, at) => `${axis}=${index[at] ?? 0}`).join(", ");
  return [
    `print(float(t[${name}][${index.join(", ")}]))  # the cell on screen`,
    `print(t.explain(${name}, ${places}))  # where it comes from`,
  ];
}

/** A value of JSON as Python writes it. */
export function asPython(value: unknown): string {
  if (value === null || value === undefined) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return `[${value.map(asPython).join(", ")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  const items = Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${asPython(item)}`);
  return `{${items.join(", ")}}`;
}
