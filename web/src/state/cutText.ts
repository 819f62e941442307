import type { Step, Token } from "../protocol/schema.generated";

/** The smallest part of a recording's text that is made of whole characters and whole tokens. */
export interface TextPiece {
  text: string;
  /** Where it begins in the text, in UTF-16 units. */
  start: number;
  /** Its tokens' positions, both included; more than one where a character spans several tokens. */
  from: number;
  to: number;
  special: boolean;
}

/** How far ahead the next token of a text is looked for, past tokens that do not read as the text does. */
const LOOKAHEAD = 64;

/**
 * A prompt cut where its tokens end. Joined, the pieces are the prompt to the letter: what tokens say of themselves (half
 * characters, a space that a tokenizer puts in front) only decides where it is cut.
 */
export function promptPieces(prompt: string, tokens: readonly Token[]): TextPiece[] {
  const pieces: TextPiece[] = [];
  let end = 0;
  /** The first of the tokens that have no text of their own yet. */
  let pending: number | null = null;
  tokens.forEach((token, position) => {
    const at = findToken(prompt, token, end, pending !== null);
    if (at === null) {
      if (!token.special) pending ??= position;
      return;
    }
    if (at.start > end && pending !== null) {
      pieces.push(piece(prompt.slice(end, at.start), end, pending, position - 1));
      pending = null;
    }
    pieces.push({
      ...piece(prompt.slice(at.start, at.stop), at.start, pending ?? position, position),
      special: token.special ?? false,
    });
    pending = null;
    end = at.stop;
  });
  if (end < prompt.length && tokens.length > 0) {
    pieces.push(piece(prompt.slice(end), end, pending ?? tokens.length - 1, tokens.length - 1));
  }
  return pieces;
}

/** What was written after a prompt, cut where whole characters end: the server says of each token what became certain. */
export function writtenPieces(
  steps: Readonly<Record<number, Step>>,
  first: number,
  stop: number,
  start = 0,
): TextPiece[] {
  const pieces: TextPiece[] = [];
  let end = start;
  let pending: number | null = null;
  for (let position = first; position < stop; position += 1) {
    const step = steps[position];
    if (!step || step.text === "") {
      if (!step?.token.special) pending ??= position;
      continue;
    }
    pieces.push(piece(step.text, end, pending ?? position, position));
    end += step.text.length;
    pending = null;
  }
  return pieces;
}

/** The pieces between two places of the text, cut to them. */
export function piecesBetween(pieces: readonly TextPiece[], start: number, stop: number): TextPiece[] {
  return pieces.flatMap((each) => {
    const from = Math.max(start, each.start);
    const to = Math.min(stop, each.start + each.text.length);
    if (to <= from) return [];
    return [{ ...each, start: from, text: each.text.slice(from - each.start, to - each.start) }];
  });
}

function piece(text: string, start: number, from: number, to: number): TextPiece {
  return { text, start, from, to, special: false };
}

/** Where a token stands in the text, at its end so far or, past unread tokens, a little later; null: nowhere. */
function findToken(prompt: string, { text, special }: Token, end: number, isPast: boolean) {
  if (text === "" || text.includes("\ufffd")) return null;
  const trimmed = special ? text : text.trimStart();
  for (const form of trimmed === "" ? [text] : [text, trimmed]) {
    if (prompt.startsWith(form, end)) return { start: end, stop: end + form.length };
    if (!isPast) continue;
    const at = prompt.slice(end, end + LOOKAHEAD + form.length).indexOf(form);
    if (at >= 0) return { start: end + at, stop: end + at + form.length };
  }
  return null;
}
