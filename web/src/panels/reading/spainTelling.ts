import i18next from "i18next";
import { spainTokens } from "../../state/spainReading";
import type { Telling } from "./sayDecision";

/** What names the words of the reading of Spain, for tests; once the dictionary is there. */
export function spainTelling(): Telling {
  return {
    t: i18next.t,
    tokens: spainTokens,
    promptCount: spainTokens.length,
    specialIds: new Set(),
    versus: "mean",
    other: null,
  };
}
