import type { AppState } from "./AppState";
import { promptPieces, type TextPiece, writtenPieces } from "./cutText";
import { answerStart } from "./selectors";

/** The text of a recording in pieces that lead to its tokens: what was given, and what a model wrote. */
export interface RecordedText {
  prompt: readonly TextPiece[];
  written: readonly TextPiece[];
}

type Source = Pick<AppState, "trace" | "tracePrompt" | "made" | "steps" | "linkedTraceId">;

const NO_TEXT: RecordedText = { prompt: [], written: [] };
/** Panels ask on every change of the state; the text changes only with these. */
let last: { key: unknown[]; text: RecordedText } | null = null;

export function recordedText(state: Source): RecordedText {
  const { trace, steps } = state;
  if (!trace) return NO_TEXT;
  const key = [trace.id, trace.tokens, trace.prompt_count, givenText(state), answerStart(state), steps];
  if (last?.key.every((each, at) => each === key[at])) return last.text;
  last = { key, text: readText(state) };
  return last.text;
}

function readText(state: Source): RecordedText {
  const { trace, steps } = state;
  if (!trace) return NO_TEXT;
  const text = givenText(state);
  const first = answerStart(state);
  const read = promptPieces(text, trace.tokens.slice(0, trace.prompt_count));
  const own = writtenPieces(steps, trace.prompt_count, trace.tokens.length, text.length);
  // Ids say nothing of a text: the beginning that a tokenizer puts in front of one is left out.
  const from = read.findIndex((piece) => !piece.special || isSpelt(state));
  return {
    prompt: from < 0 ? [] : read.slice(from).filter((piece) => piece.to < first),
    written: [...read.filter((piece) => piece.to >= first && !piece.special), ...own],
  };
}

/** What a model wrote, without the control tokens that end it. */
export function writtenText(state: Source): string {
  return joinPieces(recordedText(state).written);
}

/** What the recording was given, as a text; of a conversation and of ids, what they read as. */
export function givenText({ trace, tracePrompt, made }: Source): string {
  const isText = !made?.given.tokenIds && !made?.given.messages && !trace?.messages;
  return (isText ? tracePrompt : null) ?? trace?.prompt ?? tracePrompt ?? "";
}

export function joinPieces(pieces: readonly TextPiece[]): string {
  return pieces.map((piece) => piece.text).join("");
}

/** Whether a person wrote the control tokens of the text. */
function isSpelt({ made, linkedTraceId }: Source): boolean {
  return linkedTraceId === null && !made?.given.tokenIds;
}
