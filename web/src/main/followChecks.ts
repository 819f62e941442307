import { fetchAnatomy, fetchModels } from "../data/serverApi";
import { watchChecks } from "../data/serverEvents";
import type { Anatomy } from "../protocol/schema.generated";
import type { AppStore } from "../state/createAppStore";
import { fillAnatomy } from "../state/fillAnatomy";
import { describeFailure } from "./describeFailure";
import { whenBack } from "./whenBack";

type Progress = Pick<Anatomy, "model_id" | "checked" | "parts">;

/** How long to wait after the connection dropped before asking the server again. */
const RETRY_MS = 4_000;

/**
 * Returns a function that follows the checks of a model and fills them into the anatomy on screen. Calling it again
 * ends what the last call began.
 *
 * Parts are checked in an order that holds only while the model stays loaded. So after an interruption the anatomy is
 * read again, and its checks are followed from there.
 */
export function createCheckFollower(store: AppStore): (anatomy: Progress) => void {
  let current = new AbortController();

  function begin(): AbortSignal {
    current.abort();
    current = new AbortController();
    return current.signal;
  }

  function follow({ model_id, checked, parts }: Progress): void {
    const signal = begin();
    if (checked >= parts) return;
    const stop = watchChecks(model_id, checked, {
      onChecked(found) {
        const { anatomy } = store.getState();
        if (!signal.aborted && anatomy?.model_id === model_id)
          store.setState({ anatomy: fillAnatomy(anatomy, found) });
      },
      onInterrupted() {
        if (!signal.aborted) setTimeout(() => void askIfLoaded(model_id, signal), RETRY_MS);
      },
    });
    signal.addEventListener("abort", stop);
  }

  /** Asks again only if the model is still loaded: asking for its anatomy would load it. */
  async function askIfLoaded(modelId: string, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    try {
      const { models } = await fetchModels(signal);
      const status = models.find((model) => model.model_id === modelId)?.status;
      if (!signal.aborted && (status === "ready" || status === "loading")) await askAnew();
    } catch (error) {
      describeFailure(store, error);
    }
  }

  async function askAnew(): Promise<void> {
    const { anatomy } = store.getState();
    if (!anatomy || anatomy.checked >= anatomy.parts) return;
    const signal = begin();
    try {
      const found = await fetchAnatomy(anatomy.model_id, signal);
      const shown = store.getState().anatomy;
      if (signal.aborted || shown?.model_id !== found.model_id) return;
      store.setState({ anatomy: fillAnatomy(shown, found) });
      follow(found);
    } catch (error) {
      describeFailure(store, error);
    }
  }

  whenBack(store, () => void askAnew());
  return follow;
}
