import type { TFunction } from "i18next";
import type { Token, Word } from "../../protocol/schema.generated";
import type { AppState } from "../../state/AppState";
import { plainToken } from "../splitToken";

/** A word as a sentence quotes it: without the space before it; white space and control tokens are named. */
export function sayWord(word: Word | Token, t: TFunction, specialIds?: ReadonlySet<number>): string {
  const { text } = word;
  const special = ("special" in word && word.special) || (specialIds?.has(word.id) ?? false);
  if (special) return t("reading.control", { name: text });
  if (text === "") return t("reading.blank.nothing");
  if (/^ +$/.test(text)) return t("reading.blank.space");
  if (/^[\r\n]+$/.test(text)) return t("reading.blank.line");
  if (/^\s+$/.test(text)) return t("reading.blank.other");
  return t("reading.quoted", { word: bareWord(text) });
}

/** The same without quotation marks, where it stands alone. */
export function nameWord(word: Word | Token, t: TFunction, specialIds?: ReadonlySet<number>): string {
  const said = sayWord(word, t, specialIds);
  return said === t("reading.quoted", { word: bareWord(word.text) }) ? bareWord(word.text) : said;
}

/**
 * A word that stands in place of another: where the two differ in nothing but the space before them, it is told.
 */
export function sayInstead(word: Word, chosen: Word, t: TFunction, specialIds?: ReadonlySet<number>): string {
  const said = sayWord(word, t, specialIds);
  if (word.id === chosen.id || said !== sayWord(chosen, t, specialIds)) return said;
  return t(word.text.startsWith(" ") ? "reading.spaced" : "reading.joined", { word: said });
}

function bareWord(text: string): string {
  const bare = text.startsWith(" ") ? text.slice(1) : text;
  // A space inside a word is one; at its end it would not be seen.
  const marked = plainToken({ id: 0, text: bare, special: false });
  return bare.endsWith(" ") ? marked : marked.replaceAll("·", " ");
}

/** The ids that are known to be control tokens: the messages of a reading do not say which words are. */
export function specialIdsOf({
  trace,
  distribution,
}: Pick<AppState, "trace" | "distribution">): ReadonlySet<number> {
  const candidates = distribution.value?.candidates.map((each) => each.token) ?? [];
  const tokens = [...(trace?.tokens ?? []), ...candidates];
  return new Set(tokens.filter((token) => token.special).map((token) => token.id));
}
