import type { TraceState } from "../protocol/schema.generated";

/** A recording of three tokens, for tests. */
export const tinyTrace: TraceState = {
  id: "a",
  model_id: "tiny",
  status: "done",
  finish_reason: null,
  error: null,
  tokens: ["A", "B", "C"].map((text, id) => ({ id, text, special: false })),
  prompt_count: 3,
  positions: 3,
  tokens_per_sec: null,
  bytes: 0,
  batched_difference: null,
};
