import type { TraceState } from "../protocol/schema.generated";

/**
 * How many tokens two recordings share from the start; a causal model computes the same for them, up to rounding.
 * It is 0 if the models differ, if interventions changed either, or if the server has read one of them anew as a
 * whole, since that changes its rows.
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
 * How many positions of `shown` the other recording has bit for bit, because one took them over from the other, or both
 * from a third. The page need not read them again.
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
