import i18next from "i18next";
import { RefusedError, UnreachableError } from "../data/fetchFromServer";
import { fetchAnatomy, fetchModels, startLoad } from "../data/serverApi";
import { watchLoad } from "../data/serverEvents";
import type { AppState } from "../state/AppState";
import { type AppStore, NOTHING_RECORDED } from "../state/createAppStore";
import { describeFailure } from "./describeFailure";
import { createCheckFollower } from "./followChecks";

const NOTHING_TO_CHECK = { model_id: "", checked: 0, parts: 0 };

export interface ModelOpener {
  /** Resolves to what was there just before the model came on screen; null if it failed or another took its place. */
  open(modelId: string): Promise<AppState | null>;
  /** What is shown next is no model that is loaded here. */
  leave(): void;
}

/**
 * Loads models. The one on screen, its recording and the prompt stay until the next is ready;
 * `onReplace` is called just before they go.
 */
export function createModelOpener(store: AppStore, onReplace: () => void): ModelOpener {
  const followChecks = createCheckFollower(store);
  let current: AbortController | null = null;

  async function open(modelId: string): Promise<AppState | null> {
    current?.abort();
    const controller = new AbortController();
    current = controller;
    const { signal } = controller;
    store.setState({ opening: { modelId, progress: null }, modelFailure: null });
    try {
      await startLoad(modelId, signal);
      await followLoad(store, modelId, signal);
      // Whether it chats, and what to open it with, is known once it is loaded.
      const [anatomy] = await Promise.all([fetchAnatomy(modelId, signal), refreshModels(store)]);
      const before = store.getState();
      onReplace();
      store.setState({
        connection: "online",
        anatomy,
        shapes: [],
        opening: null,
        ...NOTHING_RECORDED,
      });
      followChecks(anatomy);
      return before;
    } catch (error) {
      if (signal.aborted) return null;
      const message = describeFailure(store, error) ?? "";
      // What is not known at all has no config either.
      const isUnknown = error instanceof RefusedError && (error.status === 404 || error.status === 401);
      const hasShape = !isUnknown && !(error instanceof UnreachableError);
      store.setState({ opening: null, modelFailure: { modelId, message, hasShape } });
      return null;
    }
  }

  function leave(): void {
    current?.abort();
    followChecks(NOTHING_TO_CHECK);
  }

  return { open, leave };
}

export async function refreshModels(store: AppStore): Promise<string | null> {
  try {
    const list = await fetchModels();
    store.setState({ models: list.models, connection: "online" });
    return list.default_model_id;
  } catch (error) {
    store.setState({ runError: describeFailure(store, error) });
    return null;
  }
}

function followLoad(store: AppStore, modelId: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = watchLoad(modelId, {
      onProgress(progress) {
        if (signal.aborted) return;
        store.setState({ opening: { modelId, progress }, connection: "online" });
        if (progress.stage === "ready") resolve();
        if (progress.stage === "failed")
          reject(new Error(progress.detail || i18next.t("connection.loadFailed")));
      },
      onInterrupted: () => reject(new Error(i18next.t("connection.loadLost"))),
    });
    signal.addEventListener("abort", () => {
      stop();
      reject(signal.reason);
    });
  });
}
