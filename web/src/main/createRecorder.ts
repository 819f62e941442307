import { Batch } from "../data/Batch";
import { createTrace, deleteTrace, stopTrace } from "../data/client";
import { type StopWatching, watchTrace } from "../data/events";
import { filterSettings } from "../protocol/filterSettings";
import type { Step, TraceState } from "../protocol/schema.generated";
import { type AppStore, DEFAULT_SAMPLING } from "../state/createAppStore";
import { addSteps, mergeTrace } from "../state/mergeTrace";
import { isEnded, linkedTokens, whyNotRun } from "../state/selectors";
import { describeFailure } from "./describeFailure";

export interface Recorder {
  run(): Promise<void>;
  /** Without a seed one is drawn and kept, so that a link to the result reproduces it. */
  generate(seed?: number | null): Promise<void>;
  /** Shows a recording that somebody else made, and follows it; it is not the page's to delete. */
  show(trace: TraceState): void;
  stop(): Promise<void>;
  /** Lets go of the recording on screen, as when another model takes its place. */
  abandon(): void;
  /** The server does not know the recording any more: there is nothing to let go of. */
  forget(): void;
}

const SEED_LIMIT = 2 ** 31;
/** A fast model writes more tokens a second than a screen needs to show one by one. */
const STEP_BATCH_MS = 40;

/** Makes recordings and keeps the store in step with the one on screen. */
export function createRecorder(store: AppStore): Recorder {
  let stopWatching: StopWatching = () => {};
  let attempt = 0;
  /** The recording on the server that is this page's to delete. */
  let ownTraceId: string | null = null;
  const steps = new Batch<Step>(STEP_BATCH_MS, (batch) => store.setState((state) => addSteps(state, batch)));

  async function record(maxNewTokens: number, seed: number | null): Promise<void> {
    const state = store.getState();
    if (whyNotRun(state) !== null || !state.anatomy) return;
    const { prompt, sampling, anatomy } = state;
    const linked = linkedTokens(state);
    attempt += 1;
    const thisAttempt = attempt;
    store.setState({ activity: "starting", runError: null });
    try {
      const trace = await createTrace({
        model_id: anatomy.model_id,
        ...(linked ? { token_ids: linked.map((token) => token.id) } : { prompt }),
        max_new_tokens: maxNewTokens,
        sampling: { ...sampling, seed },
      });
      if (thisAttempt !== attempt) {
        void discard(trace.id);
        return;
      }
      stopWatching();
      steps.flush();
      releaseOwn();
      ownTraceId = trace.id;
      store.setState({
        connection: "online",
        activity: maxNewTokens > 0 ? "generating" : "recording",
        trace,
        tracePrompt: prompt,
        drawnSeed: seed,
        linkedTraceId: null,
        steps: {},
        position: null,
        hover: null,
      });
      follow(trace.id);
    } catch (error) {
      if (thisAttempt !== attempt) return;
      store.setState({ activity: "idle", runError: describeFailure(store, error) });
    }
  }

  function releaseOwn(): void {
    if (ownTraceId !== null) void discard(ownTraceId);
    ownTraceId = null;
  }

  function follow(traceId: string): void {
    stopWatching = watchTrace(traceId, {
      onState(trace) {
        steps.flush();
        store.setState((state) => mergeTrace(state, trace));
      },
      onStep: (step) => steps.add(step),
      onFailure: (message) => store.setState({ activity: "idle", runError: message }),
      onInterrupted: (final) =>
        store.setState({ connection: "lost", ...(final ? { activity: "idle" } : {}) }),
    });
  }

  return {
    run: () => record(0, null),
    generate(seed = null) {
      const { sampling, maxNewTokens } = store.getState();
      return record(maxNewTokens, seed ?? sampling.seed ?? Math.floor(Math.random() * SEED_LIMIT));
    },
    show(trace) {
      attempt += 1;
      stopWatching();
      steps.flush();
      releaseOwn();
      const prompt = trace.prompt ?? "";
      const made = trace.sampling ?? DEFAULT_SAMPLING;
      store.setState({
        connection: "online",
        activity: isEnded(trace) ? "idle" : "generating",
        trace,
        prompt,
        tracePrompt: prompt,
        // What the page has a control for. The next text is to be another one, unless a seed is asked for.
        sampling: { ...DEFAULT_SAMPLING, ...filterSettings(made) },
        drawnSeed: made.seed ?? null,
        linkedTraceId: trace.id,
        linkedPrompt: {
          modelId: trace.model_id,
          text: prompt,
          tokens: trace.tokens.slice(0, trace.prompt_count),
        },
        steps: {},
        position: null,
        hover: null,
      });
      follow(trace.id);
    },
    async stop() {
      const { trace, activity } = store.getState();
      if (!trace || activity === "idle") return;
      store.setState({ activity: "stopping" });
      try {
        await stopTrace(trace.id);
      } catch (error) {
        store.setState({ activity: "idle", runError: describeFailure(store, error) });
      }
    },
    abandon() {
      attempt += 1;
      stopWatching();
      steps.flush();
      releaseOwn();
      store.setState({ activity: "idle" });
    },
    forget() {
      ownTraceId = null;
    },
  };
}

async function discard(traceId: string): Promise<void> {
  await deleteTrace(traceId).catch(() => {
    // It may be gone already; the server's own budget drops it otherwise.
  });
}
