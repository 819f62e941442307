import i18next from "i18next";
import type { Step, TraceState } from "../protocol/schema.generated";
import type { AppState } from "./AppState";
import { isEnded } from "./selectors";

/** The change a `state` event makes. One that is repeated after a reconnection may know less than the steps already seen. */
export function mergeTrace(state: AppState, trace: TraceState): Partial<AppState> {
  const known = state.trace;
  if (known?.id !== trace.id) return {};
  const ended = isEnded(trace);
  const tokens = ended || trace.tokens.length >= known.tokens.length ? trace.tokens : known.tokens;
  const positions = ended ? trace.positions : Math.max(trace.positions, known.positions);
  const rewritten = Math.max(trace.rewritten ?? 0, known.rewritten ?? 0);
  return {
    connection: "online",
    trace: { ...trace, tokens, positions, rewritten },
    ...(ended ? { activity: "idle" } : {}),
    ...(trace.status === "failed"
      ? { runError: trace.error ?? i18next.t("connection.recordingFailed") }
      : {}),
  };
}

/** The change that steps make. A token drawn at `pos` means that everything before it is recorded. */
export function addSteps(state: AppState, batch: Step[]): Partial<AppState> {
  const { trace, steps } = state;
  if (!trace) return {};
  const tokens = [...trace.tokens];
  for (const step of batch) if (step.pos === tokens.length) tokens.push(step.token);
  const positions = Math.max(trace.positions, ...batch.map((step) => step.pos));
  return {
    connection: "online",
    trace: { ...trace, tokens, positions },
    steps: { ...steps, ...Object.fromEntries(batch.map((step) => [step.pos, step])) },
  };
}
