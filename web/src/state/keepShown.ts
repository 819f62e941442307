import type { AppState, Kept } from "./AppState";

/** More would hardly be told apart in a list, and the server keeps the numbers of each. */
export const MOST_KEPT = 8;

/** The recordings to go back to, the one on screen as it is now among them. */
export function keepShown(state: AppState): readonly Kept[] {
  const { trace, tracePrompt, drawnSeed, made, linkedTraceId, linkedPrompt, steps, chatting, kept } = state;
  if (!trace) return kept;
  const shown = { trace, tracePrompt, drawnSeed, made, linkedTraceId, linkedPrompt, steps, chatting };
  const at = kept.findIndex((each) => each.trace.id === trace.id);
  return at < 0 ? [...kept, shown].slice(-MOST_KEPT) : kept.with(at, shown);
}

/** The same where another recording comes on screen: the oldest makes room for it, but not the one that was on screen. */
export function keepBesides(state: AppState): readonly Kept[] {
  const kept = keepShown(state);
  if (kept.length < MOST_KEPT) return kept;
  return kept.toSpliced(
    kept.findIndex((each) => each.trace.id !== state.trace?.id),
    1,
  );
}
