import { partName } from "../layout/partName";
import type { RideStop } from "../layout/RideStop";
import { leadsFrom } from "../layout/spineWords";
import type { BoundaryWords, Effect, Effects, LikelyWord, Reading } from "../protocol/schema.generated";
import type { AppState } from "./AppState";
import { effectsOf, type Finding, findingOf, isNotable, worthOf } from "./whatMattered";

/** A stop of the ride down a token's column, and what can be said there. */
export type ToldStop = RideStop &
  (
    | { kind: "tile" }
    /** What the model would say if it stopped there, and what the chosen word has. */
    | { kind: "embedding" | "word"; word: LikelyWord; chosen: number }
    | { kind: "part"; finding: Finding; adds: number | null }
    | { kind: "leads"; chosen: number }
    | { kind: "bar" }
  );

/** Parts that are stopped at: those that cost most, besides the one of block 0. */
const MOST_PARTS_TOLD = 4;
/** Where hardly any part is worth much, so many are told all the same. */
const LEAST_PARTS_TOLD = 2;
const MOST_WORDS_TOLD = 2;
/** A word is told from this probability on; the plain lens says much below it that means nothing. */
const LEAST_PROBABILITY = 0.2;

/**
 * Where the ride down the token's column stops: at its tile, after the embedding, wherever a part is worth much or
 * another word comes up on the way down, where the chosen word takes the lead, and at its bar. In order of depth.
 */
export function rideStops(reading: Reading, effects: Effects | null): ToldStop[] {
  const { lens, token, position } = reading;
  const first = lens[0];
  const own = effectsOf(reading, effects);
  const from = leadsFrom(lens, token);
  // A word that led from the start has taken the lead nowhere.
  const leads = from ? lens.find((each) => each.boundary === from) : undefined;
  const between: ToldStop[] = [
    ...(own ? partsToTell(own).map((effect) => partStop(effect, reading, own)) : []),
    ...wordsToTell(lens, token.id).map(({ boundary, tokens, chosen }) => ({
      kind: "word" as const,
      boundary,
      part: null,
      word: tokens[0] as LikelyWord,
      chosen,
    })),
    ...(leads
      ? [{ kind: "leads" as const, boundary: leads.boundary, part: null, chosen: leads.chosen }]
      : []),
  ];
  // At the same depth the part comes before the word that it brought up.
  between.sort((one, other) => one.boundary - other.boundary);
  return [
    { kind: "tile", boundary: 0, part: `token.${position}` },
    ...(first?.tokens[0]
      ? [{ kind: "embedding" as const, boundary: 0, part: null, word: first.tokens[0], chosen: first.chosen }]
      : []),
    ...between,
    { kind: "bar", boundary: lens.at(-1)?.boundary ?? 0, part: null },
  ];
}

function partStop(effect: Effect, reading: Reading, effects: Effects): ToldStop {
  const name = partName(effect);
  const added = reading.parts.find((part) => partName(part) === name);
  return {
    kind: "part",
    // It writes below the boundary before its block.
    boundary: (effect.block ?? 0) + 1,
    part: name,
    finding: findingOf(effect, reading, effects),
    adds: added?.value ?? null,
  };
}

function partsToTell(effects: Effects): Effect[] {
  const parts = effects.parts
    .filter((part) => part.kind !== "token" && part.kind !== "attention" && worthOf(part, effects) > 0)
    .toSorted((one, other) => worthOf(other, effects) - worthOf(one, effects));
  const first = parts.find((part) => part.block === 0 && isNotable(part, effects));
  const later = parts.filter((part) => part.block !== 0);
  const notable = later.filter((part) => isNotable(part, effects)).length;
  const count = Math.min(MOST_PARTS_TOLD, Math.max(LEAST_PARTS_TOLD, notable));
  return [...(first ? [first] : []), ...later.slice(0, count), ...(notable > 0 ? [] : wholesToTell(effects))];
}

/** Where no single part decides, the blocks whose heads together do. */
function wholesToTell(effects: Effects): Effect[] {
  return effects.parts
    .filter((part) => part.kind === "attention" && part.block !== 0 && isNotable(part, effects))
    .toSorted((one, other) => worthOf(other, effects) - worthOf(one, effects))
    .slice(0, LEAST_PARTS_TOLD);
}

/** Boundaries at which another word comes up that is one, and likely; not the chosen word, which leads later. */
function wordsToTell(lens: readonly BoundaryWords[], chosenId: number): BoundaryWords[] {
  const changes = lens.filter(({ tokens }, at) => {
    const word = tokens[0];
    if (at === 0 || !word || word.id === chosenId || word.id === lens[at - 1]?.tokens[0]?.id) return false;
    return word.probability >= LEAST_PROBABILITY && /\p{L}/u.test(word.text);
  });
  const likeliest = changes.toSorted(
    (one, other) => (other.tokens[0]?.probability ?? 0) - (one.tokens[0]?.probability ?? 0),
  );
  return likeliest.slice(0, MOST_WORDS_TOLD);
}

/** The stops of the decision on screen; none where it cannot be followed yet. */
export function stopsOf({ reading, effects }: AppState): ToldStop[] {
  if (reading.status !== "ready" || !reading.value || effects.status === "loading") return [];
  return rideStops(reading.value, effects.value);
}

/** Starts at the token's tile. */
export function startRide(state: AppState): Partial<AppState> {
  if (stopsOf(state).length === 0) return {};
  return { ride: 0, selection: null, hover: null, hoveredPart: null };
}

export function stepRide(state: AppState, steps: number): Partial<AppState> {
  if (state.ride === null) return {};
  const last = stopsOf(state).length - 1;
  return { ride: Math.max(0, Math.min(last, state.ride + steps)) };
}
