import { setApiKey } from "../data/apiKey";
import { fetchTrace, fetchTraces, startLoad } from "../data/serverApi";
import type { TraceState } from "../protocol/schema.generated";
import type { Commands } from "../state/Commands";
import type { AppStore } from "../state/createAppStore";
import { isMadeBy, readUrl, type UrlState } from "../state/urlState";
import type { PageStorage } from "./browserStorage";
import type { ConnectedScene } from "./connectScene";
import { createRecorder } from "./createRecorder";
import { describeFailure } from "./describeFailure";
import { linkedSelection } from "./linkedSelection";
import { createModelOpener, refreshModels } from "./openModel";

/** How often to look whether the server is back. */
const RETRY_MS = 4_000;

export interface Session extends Commands {
  /** Shows what the address stands for, after going back or forward in the history. */
  restore(url: UrlState): Promise<void>;
  /** Opens the page's first model and runs its first prompt, or what the address asks for. */
  begin(url: UrlState): Promise<void>;
}

/** The commands of the page, on the real server and the real scene. */
export function connectCommands(store: AppStore, connected: ConnectedScene, ofThisTab: PageStorage): Session {
  const recorder = createRecorder(store, () => void reconnect());
  const opener = createModelOpener(store, recorder.abandon);

  /** The last text of the prompt box for each model: a prompt for one rarely suits another. */
  const drafts = new Map<string, string>();

  async function openModel(modelId: string): Promise<boolean> {
    const previous = store.getState().anatomy?.model_id;
    const opened = await opener.open(modelId);
    if (!opened) return false;
    if (previous === modelId) return true;
    const { models, prompt } = store.getState();
    if (previous !== undefined) drafts.set(previous, prompt);
    const sample = models.find((model) => model.model_id === modelId)?.prompts?.[0];
    const linked = previous === undefined && prompt !== "" ? prompt : undefined;
    const next = linked ?? drafts.get(modelId) ?? sample;
    if (next !== undefined) store.setState({ prompt: next });
    return true;
  }

  async function reconnect(): Promise<void> {
    store.setState({ connection: "connecting" });
    const defaultId = await refreshModels(store);
    if (defaultId === null) return;
    const { anatomy, trace, prompt } = store.getState();
    if (!trace) {
      if ((await openModel(anatomy?.model_id ?? defaultId)) && prompt !== "") await recorder.run();
      return;
    }
    const known = await findTrace(store, trace.id);
    if (known === "unreachable") return;
    if (known) {
      recorder.resume(known);
      return;
    }
    recorder.forget();
    // A recorded prompt is simply recorded again. A generated text stays until somebody asks for it again.
    if (trace.tokens.length === trace.prompt_count) await recorder.again();
    else await startLoad(trace.model_id).catch((error) => describeFailure(store, error));
  }

  setInterval(() => {
    const { connection, activity, opening } = store.getState();
    if (connection === "lost" && activity === "idle" && !opening && !document.hidden) void reconnect();
  }, RETRY_MS);

  async function begin(url: UrlState): Promise<void> {
    const defaultId = await refreshModels(store);
    if (defaultId === null) return;
    const fault = url.traceId === null ? null : await showLinked(url.traceId);
    if (url.traceId !== null && fault === null) {
      store.setState({ position: url.position, ...linkedSelection(url.selection) });
      return;
    }
    const modelId = url.modelId ?? defaultId;
    if (url.prompt !== null) store.setState({ prompt: url.prompt });
    if (!(await openModel(modelId))) {
      // A link to a model that is gone still shows something: the message, and the default model behind it.
      const { modelFailure, connection } = store.getState();
      if (modelId === defaultId || connection === "lost" || !(await openModel(defaultId))) return;
      store.setState({ modelFailure });
    }
    if (url.drawnSeed === null) await recorder.run();
    else await recorder.generate(url.drawnSeed);
    store.setState({ position: url.position, ...linkedSelection(url.selection) });
    if (fault !== null) store.setState({ runError: fault });
  }

  async function restore(url: UrlState): Promise<void> {
    const { anatomy, linkedTraceId } = store.getState();
    if (url.traceId !== null) {
      const fault = url.traceId === linkedTraceId ? null : await showLinked(url.traceId);
      if (fault !== null) store.setState({ runError: fault });
    } else {
      const modelId = url.modelId ?? anatomy?.model_id;
      const isOpen = modelId === anatomy?.model_id || (modelId && (await openModel(modelId)));
      if (!isOpen) return;
      const { prompt, sampling, maxNewTokens, drawnSeed } = url;
      const isShown = isMadeBy(store.getState(), url);
      store.setState({ prompt: prompt ?? "", sampling, maxNewTokens });
      if (!isShown) {
        recorder.leave();
        await (drawnSeed === null ? recorder.run() : recorder.generate(drawnSeed));
      }
    }
    store.setState({ position: url.position, ...linkedSelection(url.selection) });
  }

  /** Opens the recording a link names, with its model; the sentence to show where it is gone. */
  async function showLinked(traceId: string): Promise<string | null> {
    try {
      const trace = await fetchTrace(traceId);
      if (!(await openModel(trace.model_id))) return store.getState().modelFailure?.message ?? "";
      recorder.show(trace);
      return null;
    } catch (error) {
      return describeFailure(store, error) ?? "";
    }
  }

  return {
    begin,
    restore,
    openModel(modelId) {
      void openModel(modelId).then((opened) => {
        if (opened) void recorder.run();
      });
    },
    run: () => void recorder.run(),
    generate: () => void recorder.generate(),
    runAgain: () => void recorder.again(),
    stop: () => void recorder.stop(),
    reconnect: () => void reconnect(),
    unlock(key) {
      setApiKey(ofThisTab, key);
      store.setState({ keyWanted: null, runError: null });
      void begin(readUrl(window.location.search));
    },
    ...sceneCommands(connected),
  };
}

/** What panels ask of the scene alone; the same with and without a server. */
export function sceneCommands({
  scene,
  light,
  redraw,
}: ConnectedScene): Pick<Commands, "redraw" | "fit" | "focus" | "highlight" | "pointAt" | "play" | "scrub"> {
  return {
    redraw,
    fit: () => scene.fit(),
    focus: (addresses) => scene.focus(addresses),
    highlight: (addresses) => scene.highlight(addresses),
    pointAt: (cell) => scene.hover(cell),
    play: () => light.play(),
    scrub: (fraction) => light.scrub(fraction),
  };
}

/** The recording as the server has it now; null if a restarted server has it no more. */
async function findTrace(store: AppStore, traceId: string): Promise<TraceState | "unreachable" | null> {
  try {
    const { traces } = await fetchTraces();
    return traces.find((known) => known.id === traceId) ?? null;
  } catch (error) {
    describeFailure(store, error);
    return "unreachable";
  }
}
