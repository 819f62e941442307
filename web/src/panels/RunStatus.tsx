import type { TFunction } from "i18next";
import { useTranslation } from "react-i18next";
import type { AppState } from "../state/AppState";
import { useApp } from "./AppContext";
import { formatNumber } from "./formatNumber";

/** One line on what is going on, and the last error in the server's own words. */
export function RunStatus() {
  const { t } = useTranslation();
  const text = useApp((state) => describe(state, t));
  const writing = useApp((state) => state.activity === "generating");
  const error = useApp((state) =>
    state.connection === "lost" || state.keyWanted !== null ? null : state.runError,
  );
  return (
    <>
      {/* Counting tokens aloud would drown what they say. */}
      <p className="status" role="status" aria-live={writing ? "off" : "polite"} data-testid="status">
        {text}
      </p>
      {error && (
        <p className="failure" role="alert" data-testid="error">
          {error}
        </p>
      )}
    </>
  );
}

function describe(state: AppState, t: TFunction): string {
  const { activity, anatomy, opening, trace, tracePrompt, prompt, chatting } = state;
  if (activity === "generating") {
    return t("status.generating", { count: trace ? trace.tokens.length - trace.prompt_count : 0 });
  }
  if (activity !== "idle") return t(`status.${activity}`);
  if (!anatomy) return opening ? t("prompt.whyNot.opening") : "";
  if (!trace) return t("status.idle");
  const parts = [t("status.recorded", { count: trace.positions })];
  if (trace.tokens.length > trace.prompt_count) {
    if (trace.finish_reason) parts.push(t(`status.finish.${trace.finish_reason}`));
    if (trace.tokens_per_sec) parts.push(t("status.speed", { speed: formatNumber(trace.tokens_per_sec, 2) }));
  }
  if (!chatting && tracePrompt !== null && tracePrompt !== prompt) return t("status.edited");
  return parts.join(" · ");
}
