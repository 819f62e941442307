import type { TraceState } from "../protocol/schema.generated";

/**
 * How many tokens two recordings have in common from the start, computed alike: what a causal model makes of them is the
 * same, up to rounding. 0 for recordings of different models, or changed by interventions.
 */
export function sharedPrefix(one: TraceState | null, other: TraceState | null): number {
  if (!one || !other) return 0;
  if (one.id === other.id) return Math.min(one.tokens.length, other.tokens.length);
  const isPlain = (trace: TraceState) => (trace.interventions ?? []).length === 0;
  if (one.model_id !== other.model_id || !isPlain(one) || !isPlain(other)) return 0;
  const differs = one.tokens.findIndex((token, at) => token.id !== other.tokens[at]?.id);
  return differs < 0 ? one.tokens.length : differs;
}
