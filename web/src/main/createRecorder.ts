import { ArrivalBatch } from "../data/ArrivalBatch";
import { createTrace, deleteTrace, type NewTrace, stopTrace } from "../data/serverApi";
import { type StopWatching, watchTrace } from "../data/serverEvents";
import { filterSettings } from "../protocol/filterSettings";
import type { Sampling, Step, TraceState } from "../protocol/schema.generated";
import type { AppState } from "../state/AppState";
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
  /** Makes the recording on screen once more. */
  again(): Promise<void>;
  /** Follows the recording on screen again, after the server was out of reach. */
  resume(trace: TraceState): void;
  stop(): Promise<void>;
  /** Stops following the recording on screen, which stays there until the next one. */
  leave(): void;
  /** Stops following the recording on screen and deletes it, because another model takes its place. */
  abandon(): void;
  /** Notes that the server no longer has the recording. What the page holds of it stays. */
  forget(): void;
}

const SEED_LIMIT = 2 ** 31;
/** A fast model writes more tokens a second than a screen needs to show one by one. */
const STEP_BATCH_MS = 40;

/**
 * Makes recordings and keeps the store in step with the one on screen. `onLost`: it can no longer be followed, as when
 * the server was started anew.
 */
export function createRecorder(store: AppStore, onLost: () => void): Recorder {
  let stopWatching: StopWatching = () => {};
  let attempt = 0;
  /** The recordings on the server that are this page's to delete, the newest last. */
  let ownTraceIds: string[] = [];
  const steps = new ArrivalBatch<Step>(STEP_BATCH_MS, (batch) =>
    store.setState((state) => addSteps(state, batch)),
  );

  async function record(maxNewTokens: number, seed: number | null): Promise<void> {
    const state = store.getState();
    if (whyNotRun(state) !== null || !state.anatomy) return;
    const { prompt, sampling, anatomy } = state;
    const linked = linkedTokens(state);
    const given = linked ? { token_ids: linked.map((token) => token.id) } : { prompt };
    await make(
      { model_id: anatomy.model_id, ...given, ...settings(maxNewTokens, sampling, seed) },
      { tracePrompt: prompt, drawnSeed: seed, made: { maxNewTokens, sampling }, linkedTraceId: null },
    );
  }

  /** Asks for a recording, and shows and follows it; `told` is what the store holds of how it was made. */
  async function make(request: NewTrace, told: Partial<AppState>): Promise<void> {
    attempt += 1;
    const thisAttempt = attempt;
    store.setState({ activity: "starting", runError: null });
    try {
      const trace = await createTrace(request);
      if (thisAttempt !== attempt) {
        void discard(trace.id);
        return;
      }
      stopWatching();
      steps.flush();
      // The recording before is kept too: one with the same beginning takes its first positions over.
      releaseOwn(1);
      ownTraceIds.push(trace.id);
      store.setState({
        connection: "online",
        activity: (request.max_new_tokens ?? 0) > 0 ? "generating" : "recording",
        trace,
        ...told,
        forgotten: false,
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

  function leave(): void {
    attempt += 1;
    stopWatching();
    steps.flush();
    store.setState({ activity: "idle" });
  }

  /** Deletes this page's recordings but for the newest `count`. */
  function releaseOwn(count = 0): void {
    const gone = ownTraceIds.slice(0, Math.max(0, ownTraceIds.length - count));
    ownTraceIds = ownTraceIds.slice(gone.length);
    for (const traceId of gone) void discard(traceId);
  }

  function follow(traceId: string): void {
    stopWatching = watchTrace(traceId, {
      onState(trace) {
        steps.flush();
        store.setState((state) => mergeTrace(state, trace));
      },
      onStep: (step) => steps.add(step),
      onFailure: (message) => store.setState({ activity: "idle", runError: message }),
      onInterrupted(final) {
        steps.flush();
        store.setState({ connection: "lost", ...(final ? { activity: "idle" } : {}) });
        if (final) onLost();
      },
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
        // The page takes up what it has a control for. The seed stays free, so that the next text is another one.
        sampling: { ...DEFAULT_SAMPLING, ...filterSettings(made) },
        drawnSeed: made.seed ?? null,
        made: null,
        linkedTraceId: trace.id,
        linkedPrompt: {
          modelId: trace.model_id,
          text: prompt,
          tokens: trace.tokens.slice(0, trace.prompt_count),
        },
        forgotten: false,
        steps: {},
        position: null,
        hover: null,
      });
      follow(trace.id);
    },
    async again() {
      const { trace, tracePrompt, drawnSeed, made, activity } = store.getState();
      if (!trace || activity !== "idle") return;
      // By token ids, since a text need not give the same ids again, and with the same interventions.
      const ids = trace.tokens.map((token) => token.id);
      await make(
        {
          model_id: trace.model_id,
          token_ids: ids.slice(0, trace.prompt_count),
          interventions: trace.interventions ?? [],
          ...settings(
            made?.maxNewTokens ?? ids.length - trace.prompt_count,
            made?.sampling ?? trace.sampling ?? DEFAULT_SAMPLING,
            drawnSeed,
          ),
        },
        { tracePrompt, drawnSeed, made, linkedTraceId: null },
      );
    },
    resume(trace) {
      store.setState((state) => mergeTrace(state, trace));
      if (isEnded(trace)) return;
      stopWatching();
      store.setState({ activity: trace.tokens.length > trace.prompt_count ? "generating" : "recording" });
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
    leave,
    abandon() {
      leave();
      releaseOwn();
    },
    forget() {
      leave();
      ownTraceIds = [];
      store.setState(({ trace }) => ({
        forgotten: trace !== null,
        trace: trace && { ...trace, status: isEnded(trace) ? trace.status : "stopped" },
      }));
    },
  };
}

function settings(maxNewTokens: number, sampling: Sampling, seed: number | null) {
  return { max_new_tokens: maxNewTokens, sampling: { ...sampling, seed } };
}

async function discard(traceId: string): Promise<void> {
  await deleteTrace(traceId).catch(() => {
    // A failure does no harm: it is gone already, or the server drops it once it needs the memory.
  });
}
