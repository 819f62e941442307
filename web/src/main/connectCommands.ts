import { setApiKey } from "../data/apiKey";
import { fetchTrace, fetchTraces, startLoad } from "../data/serverApi";

import { isShape } from "../layout/expandShape";
import type { ModelSummary, TraceState } from "../protocol/schema.generated";
import type { AppState } from "../state/AppState";

import type { Commands } from "../state/Commands";
import type { AppStore } from "../state/createAppStore";
import { GIVEN_TEXT } from "../state/Recipe";
import { isSettled } from "../state/selectors";
import { isMadeBy, readUrl, type UrlState } from "../state/urlState";
import { watchState } from "../state/watchState";
import type { PageStorage } from "./browserStorage";
import type { ConnectedScene } from "./connectScene";
import { createRecorder } from "./createRecorder";
import { describeFailure } from "./describeFailure";
import { findFault, linkedView } from "./linkedSelection";
import { createModelOpener, refreshModels } from "./openModel";
import { createShapeOpener } from "./openShapes";
import { saveOnScreen } from "./saveOnScreen";

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
  const shapes = createShapeOpener(store, () => {
    opener.leave();
    recorder.abandon();
  });

  /** What stood in the prompt box for each model: a prompt for one rarely suits another. */
  const drafts = new Map<string, Pick<AppState, "prompt" | "chatting">>();

  /** As `ModelOpener.open`. `isLinked`: it is said elsewhere what is run, so no sample is put into the prompt box. */
  async function openModel(modelId: string, isLinked = false): Promise<AppState | null> {
    const before = await opener.open(modelId);
    const previous = before?.anatomy?.model_id;
    if (!before || previous === modelId) return before;
    const state = store.getState();
    const { prompt, chatting } = state;
    if (previous !== undefined) drafts.set(previous, { prompt, chatting });
    if (isLinked || (previous === undefined && prompt !== "")) return before;
    store.setState(drafts.get(modelId) ?? sampleOf(state));
    return before;
  }

  /** What was on screen is made again with the other model, token for token: they differ in the adapter alone. */
  async function switchAdapter(modelId: string): Promise<void> {
    const before = await openModel(modelId, true);
    if (before?.trace) await recorder.again(before);
    else if (before) await recorder.run();
  }

  /** Runs what a model was opened with. */
  async function runFirst(): Promise<void> {
    const state = store.getState();
    const sample = modelOnScreen(state)?.conversation ?? [];
    if (!state.chatting || sample.at(-1)?.content !== state.prompt) return recorder.run();
    const given = { ...GIVEN_TEXT, messages: sample };
    const { maxNewTokens, sampling } = state;
    return recorder.make({ maxNewTokens, sampling, given }, null);
  }

  async function reconnect(): Promise<void> {
    store.setState({ connection: "connecting" });
    const defaultId = await refreshModels(store);
    if (defaultId === null) return;
    const { anatomy, trace, prompt } = store.getState();
    if (isShape(anatomy)) return;
    if (!trace) {
      if ((await openModel(anatomy?.model_id ?? defaultId)) && prompt !== "") await runFirst();
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
      showView(url);
      return;
    }
    if (url.shapeIds.length > 0) {
      if (await shapes.open(url.shapeIds)) {
        store.setState(linkedView(url));
        return;
      }
      if (store.getState().connection === "lost") return;
    }
    const { modelFailure: ofShape } = store.getState();
    const modelId = url.modelId ?? defaultId;
    const isLinked = url.prompt !== null || url.given.tokenIds !== null || url.given.messages !== null;
    if (url.prompt !== null) store.setState({ prompt: url.prompt });
    if (isLinked) store.setState({ chatting: url.given.messages !== null });
    if (!(await openModel(modelId, isLinked))) {
      // A link to a model that is gone still shows something: the message, and the default model behind it.
      const { modelFailure, connection } = store.getState();
      const isSecond = modelId === defaultId || connection === "lost";
      if (isSecond || !(await openModel(defaultId, isLinked))) return;
      store.setState({ modelFailure });
    }
    if (ofShape) store.setState({ modelFailure: ofShape });
    if (isLinked) await record(url);
    else await (url.drawnSeed === null ? runFirst() : recorder.generate(url.drawnSeed));
    const { trace, runError } = store.getState();
    if (isLinked && !trace && runError !== null) await runInstead(url, runError);
    else showView(url);
    if (fault !== null) store.setState({ runError: fault });
  }

  /** What a link asks for cannot be run: its text is, or a sample, and the reason is told. */
  async function runInstead({ prompt }: UrlState, message: string): Promise<void> {
    store.setState((state) => (prompt === null ? sampleOf(state) : { prompt, chatting: false }));
    await runFirst();
    store.setState({ linkFault: { key: "recording", message } });
  }

  /** Shows what a link points at in the recording that it led to, and tells of what cannot be shown. */
  function showView(url: UrlState): void {
    store.setState(linkedView(url));
    if (url.pose) connected.scene.setView(url.pose);
    const tell = () => {
      const linkFault = findFault(url, store.getState());
      if (linkFault) store.setState({ linkFault });
    };
    tell();
    const traceId = store.getState().trace?.id;
    if (url.position === null || isSettled(store.getState())) return;
    // How long a text is, is known once it has ended.
    const stop = watchState(
      store,
      (state) => [isSettled(state), state.trace?.id],
      (state) => {
        stop();
        if (state.trace?.id === traceId) tell();
      },
    );
  }

  /** Makes the recording that an address describes. */
  async function record({ given, maxNewTokens, sampling, drawnSeed }: UrlState): Promise<void> {
    if (given.tokenIds || given.messages) {
      await recorder.make({ maxNewTokens, sampling, given }, drawnSeed);
    } else await (drawnSeed === null ? recorder.run() : recorder.generate(drawnSeed));
  }

  async function restore(url: UrlState): Promise<void> {
    const { anatomy, linkedTraceId } = store.getState();
    if (url.shapeIds.length > 0) {
      if (await shapes.open(url.shapeIds)) store.setState(linkedView(url));
      return;
    }
    if (url.traceId !== null) {
      const fault = url.traceId === linkedTraceId ? null : await showLinked(url.traceId);
      if (fault !== null) store.setState({ runError: fault });
    } else {
      const modelId = url.modelId ?? anatomy?.model_id;
      const isOpen = modelId === anatomy?.model_id || (modelId && (await openModel(modelId)));
      if (!isOpen) return;
      const { prompt, sampling, maxNewTokens } = url;
      const isShown = isMadeBy(store.getState(), url);
      const kept = store.getState().kept.find((each) => isMadeBy({ ...store.getState(), ...each }, url));
      const chatting = url.given.messages !== null;
      store.setState({ prompt: prompt ?? "", sampling, maxNewTokens, chatting, beginsAnew: false });
      if (!isShown && kept) await recorder.goBackTo(kept.trace.id);
      else if (!isShown) {
        recorder.leave();
        await record(url);
      }
    }
    showView(url);
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
        if (opened) void runFirst();
      });
    },
    switchAdapter: (modelId) => void switchAdapter(modelId),
    openShapes: (shapeIds) => void shapes.open(shapeIds),
    listShapes: () => void shapes.list(),
    run: () => void recorder.run(),
    generate: () => void recorder.generate(),
    runAgain: () => void recorder.again(),
    writeOn: (from) => void recorder.writeOn(from),
    goBackTo: (traceId) => void recorder.goBackTo(traceId),
    stop: () => void recorder.stop(),
    reconnect: () => void reconnect(),
    unlock(key) {
      setApiKey(ofThisTab, key);
      store.setState({ keyWanted: null, runError: null });
      void begin(readUrl(window.location.search));
    },
    ...sceneCommands(store, connected),
  };
}

function modelOnScreen({ models, anatomy }: AppState): ModelSummary | undefined {
  return models.find((model) => model.model_id === anatomy?.model_id);
}

/** What a model is opened with: a question to it where it chats and brings no text of its own. */
function sampleOf(state: AppState): Pick<AppState, "prompt" | "chatting"> {
  const { conversation, prompts } = modelOnScreen(state) ?? {};
  const question = conversation?.at(-1)?.content;
  return { prompt: question ?? prompts?.[0] ?? state.prompt, chatting: question !== undefined };
}

/** What panels ask of the scene and its numbers alone; the same with and without a server. */
export function sceneCommands(
  store: AppStore,
  { scene, tensors, light, redraw }: ConnectedScene,
): Pick<
  Commands,
  "redraw" | "fit" | "undoView" | "redoView" | "focus" | "highlight" | "pointAt" | "play" | "scrub" | "save"
> {
  return {
    redraw,
    save: (file) => saveOnScreen(store, { scene, tensors }, file),
    fit: () => scene.fit(),
    undoView: () => scene.undoView(),
    redoView: () => scene.redoView(),
    focus: (addresses, cell) => scene.focus(addresses, cell),
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
