import type { TFunction } from "i18next";
import { type PartOfModel, parsePartName } from "../../protocol/parsePart";
import type { Reading, Token, Without, Word } from "../../protocol/schema.generated";
import type { Finding, MostRead, WhatMattered } from "../../state/whatMattered";
import { formatOdds, formatShare } from "./formatShare";
import { fillSlots, type Piece, plainText, slot } from "./phrase";
import { nameWord, sayInstead, sayWord } from "./sayWord";

/** What a sentence about a decision needs to name its words. */
export interface Telling {
  t: TFunction;
  /** The tokens of the text. */
  tokens: readonly Token[];
  specialIds: ReadonlySet<number>;
  /** How many of them the model was given: it wrote the others. */
  promptCount: number;
  versus: Reading["versus"];
  /** The text of the word that the decision is held against; null without one. */
  other: string | null;
}

/** The sentence under the picture: the word, then without which word of the text and which part it would be another. */
export function sayDecision(what: WhatMattered, telling: Telling): Piece[][] {
  const { t } = telling;
  const clauses = [sayAnswer(what, telling)];
  if (what.word === "none") clauses.push([t("reading.hidden.none")]);
  else if (what.word) clauses.push(sayFinding(what.word, what, telling));
  if (what.part === "none")
    clauses.push([t(what.firstBlock ? "reading.without.beyond" : "reading.without.none")]);
  else if (what.part) clauses.push(sayFinding(what.part, what, telling));
  if (what.whole) clauses.push(sayFinding(what.whole, what, telling));
  if (what.untested) clauses.push([t("reading.untested", { reason: what.untested.reason })]);
  return clauses;
}

/** The same with parts off: what is said then comes first, and what is said with all of them on after it. */
export function sayWithout(without: Without, what: WhatMattered, telling: Telling): Piece[][] {
  const { t, specialIds } = telling;
  const [best] = without.tokens;
  if (!best) return sayDecision(what, telling);
  const word: Piece = { text: sayBare(best, without.token, telling), strong: true };
  const slots = { word: slot("word"), share: formatShare(best.probability), count: without.parts.length };
  const [answer = [], ...others] = sayDecision(what, telling);
  const plain = answer.map((piece) =>
    typeof piece !== "string" && piece.strong ? nameWord(what.token, t, specialIds) : piece,
  );
  return [
    fillSlots(t("reading.off.now", slots), { word }),
    [t("reading.off.whole"), " ", ...plain],
    ...others,
  ];
}

/** A word that stands alone, and how it differs from the chosen one where that is in the space before it. */
function sayBare(word: Word, chosen: Word, { t, specialIds }: Telling): string {
  const said = sayInstead(word, chosen, t, specialIds);
  return said === sayWord(word, t, specialIds) ? nameWord(word, t, specialIds) : said;
}

function sayAnswer(what: WhatMattered, telling: Telling): Piece[] {
  const { t, specialIds, versus } = telling;
  const { token, probability, likelier, odds } = what;
  const word: Piece = { text: nameWord(token, t, specialIds), strong: true };
  const answer = fillSlots(t("reading.answer", { word: slot("word"), share: formatShare(probability) }), {
    word,
  });
  const more: Piece[] = [];
  const other = sayOther(token, telling);
  if (odds !== null && other !== null) {
    const against: Piece = { text: other, against: versus as number };
    more.push(
      " ",
      ...fillSlots(t("reading.odds", { odds: formatOdds(odds), other: slot("against") }), { against }),
    );
  } else if (likelier) {
    const rival: Piece = { text: sayInstead(likelier, token, t, specialIds), against: likelier.id };
    more.push(" ", ...fillSlots(t("reading.likelier", { word: slot("rival") }), { rival }));
  }
  return [...answer, ...more];
}

/** The word that the decision is held against; null where that is the average one. */
export function sayOther(token: Word, { t, specialIds, versus, other }: Telling): string | null {
  if (typeof versus !== "number") return null;
  if (other === null) return t("prompt.token", { id: versus });
  return sayInstead({ id: versus, text: other }, token, t, specialIds);
}

/** One finding: without this part it would say another word, or be so much less sure. */
export function sayFinding(finding: Finding, what: WhatMattered, telling: Telling): Piece[] {
  const { t, specialIds } = telling;
  const { effect, instead } = finding;
  const kind = effect.kind === "token" ? "hidden" : "without";
  const part = [...sayPart(finding.part, telling), ...sayReads(finding.reads, telling)];
  if (instead) {
    const word: Piece = { text: sayInstead(instead, what.token, t, specialIds), against: instead.id };
    return fillSlots(t(`reading.${kind}.says`, { part: slot("part"), word: slot("word") }), { part, word });
  }
  const share =
    what.odds === null
      ? t("reading.share", { share: formatShare(effect.probability) })
      : t("reading.times", { odds: formatOdds(Math.exp(effect.margin)) });
  return fillSlots(t(`reading.${kind}.less`, { part: slot("part"), share }), { part });
}

function sayReads(reads: MostRead | null, telling: Telling): Piece[] {
  if (!reads) return [];
  const word = sayToken(reads.position, telling);
  const share = formatShare(reads.weight);
  return fillSlots(telling.t("reading.reads", { word: slot("word"), share }), { word });
}

/** The same in plain words, for sentences of other forms. */
export function sayRead({ position, weight }: MostRead, telling: Telling): { word: string; share: string } {
  return { word: plainText(sayToken(position, telling)), share: formatShare(weight) };
}

/** A part by its name, to be pressed: a word of the text, "head 4 of block 24". */
export function sayPart(part: string, telling: Telling): Piece[] {
  const place = parsePartName(part);
  if (!place) return [part];
  if (place.kind === "token") return sayToken(place.position ?? 0, telling);
  return [{ text: namePart(place, telling.t), part }];
}

export function namePart({ kind, block, head, expert }: PartOfModel, t: TFunction): string {
  return t(`reading.parts.${kind === "token" ? "word" : kind}`, { block, head, expert });
}

/** A word of the text, and which one of several it is. */
function sayToken(position: number, telling: Telling): Piece[] {
  const { t, tokens, specialIds } = telling;
  const token = tokens[position];
  if (!token) return [t("reading.parts.position", { position })];
  const said: Piece = { text: sayWord(token, t, specialIds), part: `token.${position}` };
  const same = tokens.flatMap((each, at) => (each.id === token.id ? [at] : []));
  if (same.length < 2) return [said];
  const count = same.indexOf(position) + 1;
  return fillSlots(t("reading.nth", { count, ordinal: true, word: slot("word") }), { word: said });
}
