import { LatestRequest } from "../data/LatestRequest";
import { tokenize } from "../data/serverApi";
import { isShape } from "../layout/expandShape";
import type { AppStore } from "../state/createAppStore";
import { linkedTokens } from "../state/selectors";
import { watchState } from "../state/watchState";
import { describeFailure } from "./describeFailure";
import { whenBack } from "./whenBack";

/** The tokens are asked for once typing has paused this long. */
const DEBOUNCE_MS = 120;

/** Keeps the tokens of the prompt box up to date; typing itself never waits. */
export function watchPrompt(store: AppStore): void {
  const latest = new LatestRequest(DEBOUNCE_MS);

  async function refresh(): Promise<void> {
    const { prompt, anatomy, liveTokens } = store.getState();
    if (!anatomy || isShape(anatomy) || store.getState().origin === "exported") return;
    if (prompt === "") {
      latest.cancel();
      store.setState({ liveTokens: { status: "ready", value: [], error: null, prompt } });
      return;
    }
    const linked = linkedTokens(store.getState());
    if (linked) {
      latest.cancel();
      store.setState({ liveTokens: { status: "ready", value: linked, error: null, prompt } });
      return;
    }
    store.setState({ liveTokens: { ...liveTokens, status: "loading" } });
    try {
      const tokens = await latest.run((signal) => tokenize(anatomy.model_id, prompt, signal));
      if (tokens) store.setState({ liveTokens: { status: "ready", value: tokens, error: null, prompt } });
    } catch (error) {
      const message = describeFailure(store, error);
      store.setState({ liveTokens: { status: "failed", value: null, error: message, prompt } });
    }
  }

  whenBack(store, () => {
    if (store.getState().liveTokens.status === "failed") void refresh();
  });
  watchState(
    store,
    (state) => [state.prompt, state.anatomy?.model_id, state.linkedPrompt],
    () => void refresh(),
  );
}
