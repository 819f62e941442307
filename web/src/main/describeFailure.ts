import i18next from "i18next";
import { hasApiKey } from "../data/apiKey";
import { isAbort, UnauthorizedError, UnreachableError } from "../data/fetchFromServer";
import { MissingError } from "../data/MatrixReader";
import type { AppStore } from "../state/createAppStore";

/**
 * The sentence to show for a failed request; null if it was cancelled. Notes when the server is out of reach, when it
 * wants an API key, and when an export is damaged.
 */
export function describeFailure(store: AppStore, error: unknown): string | null {
  if (isAbort(error)) return null;
  if (error instanceof UnreachableError) {
    store.setState({ connection: "lost" });
    return i18next.t("connection.unreachable");
  }
  if (error instanceof UnauthorizedError) store.setState({ keyWanted: hasApiKey() ? "wrong" : "missing" });
  if (error instanceof MissingError && store.getState().origin === "exported")
    store.setState({ damage: error.message });
  return error instanceof Error ? error.message : String(error);
}
