import { isAbort, UnreachableError } from "../data/request";
import type { AppStore } from "../state/createAppStore";

/** The sentence to show for a failed request; null if it was cancelled. Notes when the server is out of reach. */
export function describeFailure(store: AppStore, error: unknown): string | null {
  if (isAbort(error)) return null;
  if (error instanceof UnreachableError) {
    store.setState({ connection: "lost" });
    return "The server cannot be reached.";
  }
  return error instanceof Error ? error.message : String(error);
}
