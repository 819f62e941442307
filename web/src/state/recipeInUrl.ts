import type { ChatMessage, Intervention } from "../protocol/schema.generated";
import { GIVEN_TEXT, type Recipe } from "./Recipe";

/** The parts of a link that say what a recording was given beyond a text; none for a text. */
export function writeRecipe(given: Recipe): [string, string | null][] {
  const { tokenIds, messages, answerFrom, forced, interventions } = given;
  return [
    ["chat", messages && JSON.stringify(messages.map(({ role, content }) => [role, content]))],
    ["ids", tokenIds?.join(",") ?? null],
    ["answer", answerFrom === null ? null : String(answerFrom)],
    ["forced", forced.length > 0 ? forced.join(",") : null],
    ["changes", interventions.length > 0 ? JSON.stringify(interventions) : null],
  ];
}

/** What makes no sense is left out, as elsewhere in a link; what the server cannot do with the rest, it says. */
export function readRecipe(query: URLSearchParams): Recipe {
  const answer = query.get("answer");
  return {
    tokenIds: readIds(query.get("ids")),
    messages: readMessages(parse(query.get("chat"))),
    answerFrom: answer !== null && /^\d{1,9}$/.test(answer) ? Number(answer) : GIVEN_TEXT.answerFrom,
    forced: readIds(query.get("forced")) ?? GIVEN_TEXT.forced,
    interventions: readInterventions(parse(query.get("changes"))),
  };
}

export function isSameRecipe(one: Recipe, other: Recipe): boolean {
  return JSON.stringify(writeRecipe(one)) === JSON.stringify(writeRecipe(other));
}

function readIds(text: string | null): number[] | null {
  return text !== null && /^\d{1,10}(,\d{1,10})*$/.test(text) ? text.split(",").map(Number) : null;
}

function readMessages(value: unknown): ChatMessage[] | null {
  if (!Array.isArray(value) || value.length === 0) return null;
  const isTurn = (turn: unknown): turn is [ChatMessage["role"], string] =>
    Array.isArray(turn) && ["system", "user", "assistant"].includes(turn[0]) && typeof turn[1] === "string";
  return value.every(isTurn) ? value.map(([role, content]) => ({ role, content })) : null;
}

function readInterventions(value: unknown): Intervention[] {
  if (!Array.isArray(value)) return GIVEN_TEXT.interventions;
  const isChange = (each: unknown): each is Intervention =>
    typeof each === "object" && each !== null && "address" in each && "operation" in each;
  return value.every(isChange) ? value : GIVEN_TEXT.interventions;
}

function parse(text: string | null): unknown {
  try {
    return text === null ? null : JSON.parse(text);
  } catch {
    return null;
  }
}
