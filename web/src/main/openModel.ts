import { fetchAnatomy, fetchModels, startLoad } from "../data/serverApi";
import { watchLoad } from "../data/serverEvents";
import { type AppStore, NOTHING_RECORDED } from "../state/createAppStore";
import { describeFailure } from "./describeFailure";
import { createCheckFollower } from "./followChecks";

export interface ModelOpener {
  /** Resolves to true once the model is on screen, false if it failed or another took its place. */
  open(modelId: string): Promise<boolean>;
}

/**
 * Loads models. The one on screen, its recording and the prompt stay until the next is ready;
 * `onReplace` is called just before they go.
 */
export function createModelOpener(store: AppStore, onReplace: () => void): ModelOpener {
  const followChecks = createCheckFollower(store);
  let current: AbortController | null = null;

  async function open(modelId: string): Promise<boolean> {
    current?.abort();
    const controller = new AbortController();
    current = controller;
    const { signal } = controller;
    store.setState({ opening: { modelId, progress: null }, modelFailure: null });
    try {
      await startLoad(modelId, signal);
      await followLoad(store, modelId, signal);
      const anatomy = await fetchAnatomy(modelId, signal);
      onReplace();
      store.setState({
        connection: "online",
        anatomy,
        opening: null,
        ...NOTHING_RECORDED,
      });
      followChecks(anatomy);
      void refreshModels(store);
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      const message = describeFailure(store, error) ?? "";
      store.setState({ opening: null, modelFailure: { modelId, message } });
      return false;
    }
  }

  return { open };
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
          reject(new Error(progress.detail || "The model could not be loaded."));
      },
      onInterrupted: () => reject(new Error("The connection was lost while the model was loading.")),
    });
    signal.addEventListener("abort", () => {
      stop();
      reject(signal.reason);
    });
  });
}
