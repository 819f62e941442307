import { isShape } from "../layout/expandShape";
import type { AppState } from "./AppState";
import { messagesToSend } from "./conversation";
import { countRun, isBusy } from "./selectors";

/** Why Run and Generate are not possible now, as a key of the words; null if they are. */
export function whyNotRun(
  state: AppState,
): "exported" | "shape" | "noModel" | "opening" | "busy" | "emptyPrompt" | "emptyMessage" | "tooLong" | null {
  if (state.origin === "exported") return "exported";
  if (isShape(state.anatomy)) return "shape";
  if (state.opening) return "opening";
  if (!state.anatomy) return "noModel";
  if (isBusy(state)) return "busy";
  if (state.chatting && messagesToSend(state) === null) return "emptyMessage";
  if (!state.chatting && state.prompt === "") return "emptyPrompt";
  const count = state.liveTokens.prompt === state.prompt ? (countRun(state) ?? 0) : 0;
  if (count > state.anatomy.dimensions.context) return "tooLong";
  return null;
}
