import type { TraceState } from "../protocol/schema.generated";

/**
 * How many tokens two recordings have in common from the start, computed alike: what a causal model makes of them is the
 * same, up to rounding. 0 for recordings of different models, changed by interventions, or of which one has been read anew
 * as a whole, which made its rows others.
 */
export function sharedPrefix(one: TraceState | null, other: TraceState | null): number {
  if (!one || !other) return 0;
  if (one.id === other.id) return Math.min(one.tokens.length, other.tokens.length);
  const isPlain = (trace: TraceState) => (trace.interventions ?? []).length === 0;
  if (one.model_id !== other.model_id || !isPlain(one) || !isPlain(other)) return 0;
  if ((one.rewritten ?? 0) !== (other.rewritten ?? 0)) return 0;
  const differs = one.tokens.findIndex((token, at) => token.id !== other.tokens[at]?.id);
  return differs < 0 ? one.tokens.length : differs;
}

/**
 * How many positions of `shown` another recording has to the bit, because one of them, or both, took them over: of a
 * recording that the page holds, these need not be read again.
 */
export function sharedRows(shown: TraceState | null, other: TraceState): number {
  // What was taken over from a recording, or by one, is not what it holds since.
  if (!shown || (shown.rewritten ?? 0) > 0 || (other.rewritten ?? 0) > 0) return 0;
  const lineOf = (trace: TraceState) =>
    new Map([
      [trace.id, Number.POSITIVE_INFINITY],
      ...(trace.adopted ?? []).map(({ trace_id, positions }) => [trace_id, positions] as const),
    ]);
  const own = lineOf(shown);
  const common = [...lineOf(other)].map(([id, count]) => Math.min(count, own.get(id) ?? 0));
  return Math.min(Math.max(...common), sharedPrefix(shown, other));
}
