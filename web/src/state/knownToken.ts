import type { Token } from "../protocol/schema.generated";
import type { AppState } from "./AppState";

/** A token of the vocabulary by its id, from wherever the page has seen it; null for one that it has not. */
export function knownToken(state: AppState, id: number): Token | null {
  const { reading, effects, without, distribution, trace } = state;
  const tokens = [
    ...(distribution.value?.candidates.map((each) => each.token) ?? []),
    ...(trace?.tokens ?? []),
  ];
  const words = [
    ...(reading.value?.lens.flatMap((each) => each.tokens) ?? []),
    ...(effects.value?.parts.map((each) => each.token) ?? []),
    ...(without.value?.tokens ?? []),
  ];
  const word = words.find((each) => each.id === id);
  return tokens.find((each) => each.id === id) ?? (word ? { id, text: word.text, special: false } : null);
}
