import type { AppState, Kept } from "./AppState";

/** More would hardly be told apart in a list, and the server keeps the numbers of each. */
export const MOST_KEPT = 8;

/** The recordings to go back to, with the one on screen as it is now; the longest untouched go first. */
export function keepShown(state: AppState): readonly Kept[] {
  const { trace, tracePrompt, drawnSeed, made, linkedTraceId, linkedPrompt, steps, chatting, kept } = state;
  if (!trace) return kept;
  const shown = { trace, tracePrompt, drawnSeed, made, linkedTraceId, linkedPrompt, steps, chatting };
  const at = kept.findIndex((each) => each.trace.id === trace.id);
  return at < 0 ? [...kept, shown].slice(-MOST_KEPT) : kept.with(at, shown);
}
