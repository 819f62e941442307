import i18next from "i18next";
import { ArrivalBatch } from "../data/ArrivalBatch";
import { createTrace, deleteTrace, fetchTrace, type NewTrace, stopTrace } from "../data/serverApi";
import { type StopWatching, watchTrace } from "../data/serverEvents";
import { filterSettings } from "../protocol/filterSettings";
import type { Sampling, Step, TraceState } from "../protocol/schema.generated";
import type { AppState, Made } from "../state/AppState";
import { givenMessages, messagesToSend } from "../state/conversation";
import { type AppStore, DEFAULT_SAMPLING } from "../state/createAppStore";
import { keepBesides, keepShown } from "../state/keepShown";
import { addSteps, mergeTrace } from "../state/mergeTrace";
import { GIVEN_TEXT, type Recipe } from "../state/Recipe";
import { answerStart, isEnded, linkedTokens, textEnd } from "../state/selectors";
import { whyNotRun } from "../state/whyNotRun";
import { describeFailure } from "./describeFailure";

export interface Recorder {
  run(): Promise<void>;
  /** Without a seed one is drawn and kept, so that a link to the result reproduces it. */
  generate(seed?: number | null): Promise<void>;
  /** Makes a recording as a link describes it. */
  make(made: Made, seed: number | null): Promise<void>;
  /** Shows a recording that somebody else made, and follows it; it is not the page's to delete. */
  show(trace: TraceState): void;
  /** Makes the recording on screen once more, or the one that was `before` another model took its place. */
  again(before?: AppState): Promise<void>;
  /** Follows the recording on screen again, after the server was out of reach. */
  resume(trace: TraceState): void;
  /** As `Commands.writeOn`. */
  writeOn(from?: { position?: number; forced?: number; count?: number }): Promise<void>;
  /** Shows a recording of this page again. Where the server no longer has it, what the page holds of it. */
  goBackTo(traceId: string): Promise<void>;
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
/** How long what a page has left stays on the server. */
const ABANDONED_MS = 2_000;

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

  /** With a seed it writes on, else it only reads. */
  async function record(seed: number | null): Promise<void> {
    const state = store.getState();
    if (whyNotRun(state) !== null) return;
    // A message that is sent for an answer is said; one that is only read can still be changed.
    const isSent = state.chatting && seed !== null;
    const { maxNewTokens, sampling } = state;
    const made = { maxNewTokens, sampling, given: givenNow(state) };
    await makeAs(made, seed, isSent ? { prompt: "", tracePrompt: "" } : {});
  }

  /** Records with the text of the prompt box, or with what is given in its place. */
  async function makeAs(made: Made, seed: number | null, told: Partial<AppState> = {}): Promise<void> {
    const { prompt, anatomy } = store.getState();
    if (!anatomy) return;
    const count = seed === null ? 0 : made.maxNewTokens;
    const request = {
      model_id: anatomy.model_id,
      ...requestOf(made.given, prompt),
      ...settings(count, made, seed),
    };
    await make(request, {
      tracePrompt: prompt,
      drawnSeed: seed,
      made,
      linkedTraceId: null,
      beginsAnew: false,
      ...told,
    });
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
      ownTraceIds.push(trace.id);
      store.setState((state) => ({
        connection: "online",
        activity: (request.max_new_tokens ?? 0) > 0 ? "generating" : "recording",
        kept: keepBesides(state),
        trace,
        steps: {},
        ...told,
        forgotten: false,
        position: null,
        hover: null,
      }));
      release();
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

  /** Deletes those of this page's recordings that it neither shows nor keeps. */
  function release(): void {
    const { trace, kept } = store.getState();
    const held = new Set([trace?.id, ...kept.map((each) => each.trace.id)]);
    discardSoon(ownTraceIds.filter((traceId) => !held.has(traceId)));
    ownTraceIds = ownTraceIds.filter((traceId) => held.has(traceId));
  }

  function follow(traceId: string): void {
    stopWatching = watchTrace(traceId, {
      onState(trace) {
        steps.flush();
        store.setState((state) => mergeTrace(state, trace));
      },
      onStep: (step) => steps.add(step),
      onFailure: (message) =>
        store.setState({
          activity: "idle",
          runError: message ?? i18next.t("connection.recordingFailed"),
        }),
      onInterrupted(final) {
        steps.flush();
        store.setState({ connection: "lost", ...(final ? { activity: "idle" } : {}) });
        if (final) onLost();
      },
    });
  }

  return {
    run: () => record(null),
    make: makeAs,
    generate(seed = null) {
      return record(seed ?? newSeed(store.getState().sampling));
    },
    show(trace) {
      attempt += 1;
      stopWatching();
      steps.flush();
      const asked = trace.messages?.at(-1);
      const hasAnswer = trace.tokens.length > trace.prompt_count;
      // What was said stands among the turns; a question that nobody answered can be changed.
      const box = asked?.role === "user" && !hasAnswer ? asked.content : "";
      const prompt = trace.messages ? box : (trace.prompt ?? "");
      const made = trace.sampling ?? DEFAULT_SAMPLING;
      store.setState({
        connection: "online",
        activity: isEnded(trace) ? "idle" : "generating",
        kept: keepBesides(store.getState()),
        trace,
        prompt,
        chatting: Boolean(trace.messages),
        beginsAnew: false,
        tracePrompt: prompt,
        // The seed stays free, so that the next text is another one.
        sampling: ofThePage(made, null),
        drawnSeed: made.seed ?? null,
        made: null,
        linkedTraceId: trace.id,
        linkedPrompt: trace.messages
          ? null
          : {
              modelId: trace.model_id,
              text: prompt,
              tokens: trace.tokens.slice(0, trace.prompt_count),
            },
        forgotten: false,
        steps: {},
        position: null,
        hover: null,
      });
      release();
      follow(trace.id);
    },
    async again(before) {
      const { anatomy, activity } = store.getState();
      const shown = before ?? store.getState();
      const { trace, tracePrompt } = shown;
      if (!trace || !anatomy || activity !== "idle") return;
      const { made, seed } = shown.made ? { made: shown.made, seed: shown.drawnSeed } : madeOf(trace);
      await make(
        {
          model_id: anatomy.model_id,
          // By token ids, since a text need not give the same ids again, and with the same interventions.
          token_ids: promptIds(trace),
          interventions: made.given.interventions,
          ...settings(seed === null ? 0 : made.maxNewTokens, made, seed),
        },
        { tracePrompt, drawnSeed: seed, made, linkedTraceId: null },
      );
    },
    async writeOn({ position, forced, count } = {}) {
      const state = store.getState();
      const { trace, anatomy, sampling, activity } = state;
      if (!trace || !anatomy || activity !== "idle") return;
      const begun = trace.tokens.slice(0, position === undefined ? textEnd(state) : position + 1);
      const first = answerStart(state);
      const messages = givenMessages(state);
      const given: Recipe = {
        tokenIds: begun.map((token) => token.id),
        messages: messages.length > 0 ? [...messages] : null,
        answerFrom: first < begun.length ? first : null,
        forced: forced === undefined ? [] : [forced],
        interventions: trace.interventions ?? [],
      };
      const known = Object.entries(state.steps).filter(([pos]) => Number(pos) < begun.length);
      await makeAs({ maxNewTokens: count ?? state.maxNewTokens, sampling, given }, newSeed(sampling), {
        tracePrompt: state.tracePrompt,
        steps: Object.fromEntries(known),
      });
    },
    async goBackTo(traceId) {
      const state = store.getState();
      const kept = state.kept.find((each) => each.trace.id === traceId);
      if (!kept || traceId === state.trace?.id) return;
      leave();
      const { made, tracePrompt } = kept;
      store.setState({
        kept: keepShown(store.getState()),
        ...kept,
        ...(made ? { sampling: ofThePage(made.sampling, made.sampling.seed) } : {}),
        prompt: tracePrompt ?? "",
        beginsAnew: false,
        forgotten: false,
        runError: null,
        position: null,
        hover: null,
      });
      try {
        const trace = await fetchTrace(traceId);
        store.setState((now) => mergeTrace(now, trace));
        if (!isEnded(trace) && store.getState().trace?.id === traceId) follow(traceId);
      } catch (error) {
        const message = describeFailure(store, error);
        if (store.getState().connection === "lost" || message === null) return;
        ownTraceIds = ownTraceIds.filter((own) => own !== traceId);
        store.setState(({ trace }) => (trace?.id === traceId ? { forgotten: true } : {}));
      }
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
      discardSoon(ownTraceIds);
      ownTraceIds = [];
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

function promptIds({ tokens, prompt_count }: TraceState): number[] {
  return tokens.slice(0, prompt_count).map((token) => token.id);
}

/** How a recording that somebody else made is made again: what it was given, and as many tokens as it wrote. */
function madeOf(trace: TraceState): { made: Made; seed: number | null } {
  const { tokens, prompt_count, messages = null, interventions = [] } = trace;
  const sampling = trace.sampling ?? DEFAULT_SAMPLING;
  const maxNewTokens = tokens.length - prompt_count;
  const forced = sampling.forced_token_ids ?? [];
  return {
    made: {
      maxNewTokens,
      sampling: { ...sampling, seed: null },
      given: { ...GIVEN_TEXT, tokenIds: promptIds(trace), messages, forced, interventions },
    },
    seed: maxNewTokens > 0 ? newSeed(sampling) : null,
  };
}

/** Of how tokens were drawn, what the page has a control for. */
function ofThePage(sampling: Sampling, seed: Sampling["seed"]): Sampling {
  return { ...DEFAULT_SAMPLING, ...filterSettings(sampling), seed };
}

function newSeed({ seed }: Sampling): number {
  return seed ?? Math.floor(Math.random() * SEED_LIMIT);
}

/** What the prompt box stands for now. */
function givenNow(state: AppState): Recipe {
  if (state.chatting) return { ...GIVEN_TEXT, messages: messagesToSend(state) };
  const linked = linkedTokens(state);
  return linked ? { ...GIVEN_TEXT, tokenIds: linked.map((token) => token.id) } : GIVEN_TEXT;
}

function requestOf({ tokenIds, messages, interventions }: Recipe, prompt: string): Partial<NewTrace> {
  const text = tokenIds ? { token_ids: tokenIds } : messages ? { messages } : { prompt };
  return { ...text, interventions };
}

function settings(count: number, { sampling, given }: Pick<Made, "sampling" | "given">, seed: number | null) {
  return {
    max_new_tokens: count,
    sampling: { ...sampling, seed, forced_token_ids: given.forced },
  };
}

/** Deletes recordings that the page has left, once what was asked of them until now is answered. */
function discardSoon(traceIds: readonly string[]): void {
  setTimeout(() => traceIds.forEach((traceId) => void discard(traceId)), ABANDONED_MS);
}

async function discard(traceId: string): Promise<void> {
  await deleteTrace(traceId).catch(() => {
    // A failure does no harm: it is gone already, or the server drops it once it needs the memory.
  });
}
