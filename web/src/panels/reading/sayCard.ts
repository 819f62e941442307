import { partName } from "../../layout/partName";
import { parsePartName } from "../../protocol/parsePart";
import type { Effects, Reading } from "../../protocol/schema.generated";
import { effectsOf, mostRead } from "../../state/whatMattered";
import { formatNumber } from "../formatNumber";
import { formatShare } from "./formatShare";
import { plainText } from "./phrase";
import { sayOther, sayPart, sayRead, type Telling } from "./sayDecision";
import { sayInstead } from "./sayWord";

/** A part in a few lines: its name, from where it brings most, what is said without it, what it adds. */
export function sayCard(
  part: string,
  reading: Reading,
  effects: Effects | null,
  isTested: boolean,
  telling: Telling,
): string[] {
  const { t, specialIds } = telling;
  const place = parsePartName(part);
  const lines = [plainText(sayPart(part, telling))];
  if (place?.kind === "head") {
    const reads = mostRead(reading, place.block ?? 0, place.head ?? 0);
    if (reads) lines.push(t("reading.card.reads", sayRead(reads, telling)));
  }
  const own = effectsOf(reading, effects);
  const effect = own?.parts.find((each) => partName(each) === part);
  const adds = reading.parts.find((each) => partName(each) === part);
  if (effect && own) {
    const word = sayInstead(effect.token, reading.token, t, specialIds);
    const share = formatShare(effect.probability);
    // "Still" is of the word alone that was said: where a likelier one was passed over, the share is not that one's.
    const stays = effect.token.id === reading.token.id && own.base.token.id === reading.token.id;
    lines.push(t(stays ? "reading.card.still" : "reading.card.says", { word, share }));
  } else if (!isTested) lines.push(t("reading.card.untested"));
  if (adds) {
    const value = formatNumber(adds.value, 2);
    const other = sayOther(reading.token, telling);
    lines.push(
      other === null ? t("reading.card.adds", { value }) : t("reading.card.addsOver", { value, other }),
    );
  }
  return lines;
}
