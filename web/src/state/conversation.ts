import type { ChatMessage } from "../protocol/schema.generated";
import type { AppState } from "./AppState";
import { piecesBetween, type TextPiece } from "./cutText";
import { givenText, joinPieces, recordedText, writtenText } from "./recordedText";

/** One turn as it is shown; the pieces of its text lead to their tokens, where those are found. */
export interface Turn {
  role: ChatMessage["role"];
  text: string;
  pieces: readonly TextPiece[];
}

const NO_MESSAGES: readonly ChatMessage[] = [];

/** Whether the model on screen has a chat template. */
export function canChat({ models, anatomy }: AppState): boolean {
  return models.find((model) => model.model_id === anatomy?.model_id)?.chat ?? false;
}

/** The conversation that the recording on screen was given, if it was one. */
export function givenMessages({ made, trace }: AppState): readonly ChatMessage[] {
  return made?.given.messages ?? trace?.messages ?? NO_MESSAGES;
}

/** The last question, while nothing was written after it. */
export function openQuestion(state: AppState): string | null {
  const last = givenMessages(state).at(-1);
  return last?.role === "user" && writtenText(state) === "" ? last.content : null;
}

/** The conversation that a message of the prompt box goes on with. A question without an answer gives way to it. */
export function turnsBefore(state: AppState): readonly ChatMessage[] {
  if (state.beginsAnew) return NO_MESSAGES;
  const given = givenMessages(state);
  const answer = writtenText(state);
  if (answer !== "" && given.length > 0) return [...given, { role: "assistant", content: answer }];
  return openQuestion(state) === null ? given : given.slice(0, -1);
}

/** What Run and Generate send in a conversation; null where there is nothing to answer. */
export function messagesToSend(state: AppState): ChatMessage[] | null {
  if (state.prompt !== "") return [...turnsBefore(state), { role: "user", content: state.prompt }];
  return openQuestion(state) !== null && !state.beginsAnew ? [...givenMessages(state)] : null;
}

/** The recording on screen as turns, without a question that still stands in the prompt box. */
export function shownTurns(state: AppState): Turn[] {
  if (state.beginsAnew) return [];
  const { prompt, written } = recordedText(state);
  const given = givenText(state);
  let end = 0;
  const turns = givenMessages(state).map(({ role, content }): Turn => {
    // Templates strip what surrounds a message.
    const text = content.trim();
    const at = given.indexOf(text, end);
    if (at >= 0) end = at + text.length;
    return { role, text, pieces: at < 0 ? [] : piecesBetween(prompt, at, end) };
  });
  const open = openQuestion(state);
  if (open !== null && open === state.prompt) turns.pop();
  if (turns.length > 0 && written.length > 0) {
    turns.push({ role: "assistant", text: joinPieces(written), pieces: written });
  }
  return turns;
}
