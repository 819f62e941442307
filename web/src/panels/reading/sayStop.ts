import type { Reading } from "../../protocol/schema.generated";
import type { ToldStop } from "../../state/rideStops";
import type { WhatMattered } from "../../state/whatMattered";
import { formatNumber } from "../formatNumber";
import { formatShare } from "./formatShare";
import { fillSlots, type Piece, slot } from "./phrase";
import { sayFinding, sayOther, sayPart, type Telling } from "./sayDecision";
import { nameWord, sayInstead, sayWord } from "./sayWord";

/** One sentence at a stop of the ride, with this token's own numbers. It says "because" of what was tested alone. */
export function sayStop(stop: ToldStop, reading: Reading, what: WhatMattered, telling: Telling): Piece[] {
  const { t, tokens, specialIds } = telling;
  const chosen = sayWord(reading.token, t, specialIds);
  switch (stop.kind) {
    case "tile": {
      const token = tokens[reading.position];
      const word = token ? sayWord(token, t, specialIds) : "";
      return [t("reading.ride.tile", { word, position: reading.position })];
    }
    case "embedding":
    case "word": {
      const word = sayInstead(stop.word, reading.token, t, specialIds);
      const shares = { share: formatShare(stop.word.probability), chosenShare: formatShare(stop.chosen) };
      return [t(`reading.ride.${stop.kind}`, { word, chosen, block: stop.boundary - 1, ...shares })];
    }
    case "part": {
      const { adds, finding } = stop;
      const found = sayFinding(finding, what, telling);
      if (adds === null) return found;
      const value = formatNumber(adds, 2);
      const other = sayOther(reading.token, telling);
      const more =
        other === null
          ? t("reading.ride.adds", { value, chosen })
          : t("reading.ride.addsOver", { value, chosen, other });
      return [...found, " ", more];
    }
    case "leads":
      return [t("reading.ride.leads", { block: stop.boundary - 1, chosen, share: formatShare(stop.chosen) })];
    default:
      return sayBar(reading, what, telling);
  }
}

function sayBar(reading: Reading, { word }: WhatMattered, telling: Telling): Piece[] {
  const { t, specialIds } = telling;
  // The next word of a prompt was given, not drawn.
  const isGiven = reading.position + 1 < telling.promptCount;
  const chosen: Piece = { text: nameWord(reading.token, t, specialIds), strong: true };
  const slots = { word: slot("chosen"), share: formatShare(reading.probability) };
  if (word === null || word === "none" || word.instead === null) {
    return fillSlots(t(isGiven ? "reading.ride.given" : "reading.ride.bar", slots), { chosen });
  }
  const other: Piece = {
    text: sayInstead(word.instead, reading.token, t, specialIds),
    against: word.instead.id,
  };
  const left = formatShare(word.effect.probability);
  const because = { ...slots, part: slot("part"), other: slot("other"), left };
  const part = sayPart(word.part, telling);
  return fillSlots(t(isGiven ? "reading.ride.givenBecause" : "reading.ride.because", because), {
    chosen,
    part,
    other,
  });
}
