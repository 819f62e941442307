import { useTranslation } from "react-i18next";
import type { AppState } from "../../state/AppState";
import { knownToken } from "../../state/knownToken";
import { useApp } from "../AppContext";
import type { Telling } from "./sayDecision";
import { specialIdsOf } from "./sayWord";

/** What sentences need to name the words of the decision on screen. */
export function useTelling(): Telling {
  const { t } = useTranslation();
  const { trace, distribution, versus, other } = useApp((state) => ({
    trace: state.trace,
    distribution: state.distribution,
    versus: state.reading.value?.versus ?? state.versus,
    other: textOf(state, state.reading.value?.versus ?? state.versus),
  }));
  const specialIds = specialIdsOf({ trace, distribution });
  return { t, tokens: trace?.tokens ?? [], promptCount: trace?.prompt_count ?? 0, specialIds, versus, other };
}

/** The text of a word by its id, from wherever the page has seen it. */
export function textOf(state: AppState, id: AppState["versus"]): string | null {
  return typeof id === "number" ? (knownToken(state, id)?.text ?? null) : null;
}
