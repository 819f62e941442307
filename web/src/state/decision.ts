import { MOST_PARTS, parsePartName } from "../protocol/parsePart";
import type { AppState, Versus } from "./AppState";
import { shownPosition } from "./selectors";

/** What is asked of one decision. */
export interface Decision {
  traceId: string;
  position: number;
  versus: Versus;
}

/** The decision that is looked at; null where there is none that could be read. */
export function decisionOf(state: AppState): Decision | null {
  const { trace, anatomy, versus } = state;
  const position = shownPosition(state);
  if (!trace || !anatomy || anatomy.refused || position === null) return null;
  return { traceId: trace.id, position, versus };
}

/** Whether the page can be asked about other words, and without parts: an export answers only what it holds. */
export function canAsk(state: AppState): boolean {
  return state.origin === "live" && state.reading.value !== null;
}

/** Switches a part off, or back on where it is off. The position is held, since parts belong to one decision. */
export function toggleOff(state: AppState, part: string): Partial<AppState> {
  if (!canAsk(state)) return {};
  if (state.off.includes(part)) return { off: state.off.filter((each) => each !== part) };
  // A position always reads itself, and nothing after it.
  const isReadable = (parsePartName(part)?.position ?? -1) < (shownPosition(state) ?? 0);
  if (state.off.length >= MOST_PARTS || !isReadable) return {};
  return { off: [...state.off, part], position: shownPosition(state) };
}

/** Holds the decision against another word; against the average one again for the word itself or the one before. */
export function askAgainst(state: AppState, tokenId: number): Partial<AppState> {
  if (!canAsk(state)) return {};
  const isBack = tokenId === state.reading.value?.token.id || tokenId === state.versus;
  if (isBack) return { versus: "mean", ride: null };
  return { versus: tokenId, ride: null, position: shownPosition(state) };
}
