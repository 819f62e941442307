import { fetchAnatomy, fetchModels } from "../data/serverApi";
import { watchChecks } from "../data/serverEvents";
import type { Anatomy } from "../protocol/schema.generated";
import type { AppStore } from "../state/createAppStore";
import { fillAnatomy } from "../state/fillAnatomy";
import { describeFailure } from "./describeFailure";
import { whenBack } from "./whenBack";

/** How long after the server fell silent it is asked what there is. */
const RETRY_MS = 4_000;

/**
 * Returns what starts to fill the anatomy on screen as the model's parts are checked, until it is called for another.
 *
 * How many parts have been checked says which only for as long as the model stays loaded. So nothing is resumed after an
 * interruption: the anatomy is read again, and its checks are followed from there.
 */
export function createCheckFollower(store: AppStore): (anatomy: Anatomy) => void {
  let current = new AbortController();

  function begin(): AbortSignal {
    current.abort();
    current = new AbortController();
    return current.signal;
  }

  function follow({ model_id, checked, parts }: Anatomy): void {
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

  /** A model that was unloaded is not loaded again for this. */
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
