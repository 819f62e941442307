import { EventSource } from "eventsource";
import type { CheckedParts, LoadProgress, Step, TraceState } from "../protocol/schema.generated";
import { fetchFromServer, pathOfId } from "./fetchFromServer";
import { serverAddress } from "./serverAddress";

/** Ends an event stream; safe to call twice. */
export type StopWatching = () => void;

export interface TraceListener {
  onState(state: TraceState): void;
  onStep(step: Step): void;
  /** The server gave up on this recording; in its own words, where it has some. */
  onFailure(message: string | null): void;
  /** The connection dropped. Unless `final`, the browser tries again and resumes after the last event it saw. */
  onInterrupted(final: boolean): void;
}

const OPEN_STATUSES = new Set<TraceState["status"]>(["queued", "running"]);

/** The browser's own EventSource sends no headers, so no API key; this one does what it does, by `fetch`. */
function openEvents(path: string): EventSource {
  return new EventSource(serverAddress(path), {
    fetch: (target, init) => fetchFromServer(target, init as RequestInit),
  });
}

/** Follows a recording until its final state. EventSource itself resumes with `Last-Event-ID`. */
export function watchTrace(traceId: string, listener: TraceListener): StopWatching {
  const source = openEvents(`/api/traces/${traceId}/events`);
  source.addEventListener("state", (event) => {
    const state = JSON.parse(event.data) as TraceState;
    // The server closes the stream after the final state; unless we close first, the browser would reconnect for ever.
    if (!OPEN_STATUSES.has(state.status)) source.close();
    listener.onState(state);
  });
  source.addEventListener("step", (event) => listener.onStep(JSON.parse(event.data) as Step));
  source.addEventListener("error", (event) => {
    const failure = readServerError(event);
    if (failure !== null) {
      source.close();
      listener.onFailure(failure.error ?? null);
    } else {
      listener.onInterrupted(source.readyState === EventSource.CLOSED);
    }
  });
  return () => source.close();
}

export interface LoadListener {
  onProgress(progress: LoadProgress): void;
  onInterrupted(): void;
}

/** Follows a model's loading until it is ready or has failed. */
export function watchLoad(modelId: string, listener: LoadListener): StopWatching {
  const source = openEvents(`/api/models/${pathOfId(modelId)}/load`);
  source.addEventListener("progress", (event) => {
    const progress = JSON.parse(event.data) as LoadProgress;
    if (progress.stage === "ready" || progress.stage === "failed") source.close();
    listener.onProgress(progress);
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) listener.onInterrupted();
  });
  return () => source.close();
}

export interface ChecksListener {
  onChecked(found: CheckedParts): void;
  /** The connection dropped, and watching has ended: the order in which parts are checked may have changed. */
  onInterrupted(): void;
}

/** Hears of the parts of a model's anatomy that are checked after the first `after`, until none is left. */
export function watchChecks(modelId: string, after: number, listener: ChecksListener): StopWatching {
  const source = openEvents(`/api/models/${pathOfId(modelId)}/checks?after=${after}`);
  source.addEventListener("checked", (event) => {
    const found = JSON.parse(event.data) as CheckedParts;
    if (found.checked >= found.parts) source.close();
    listener.onChecked(found);
  });
  source.addEventListener("error", () => {
    source.close();
    listener.onInterrupted();
  });
  return () => source.close();
}

/** An SSE event named `error` reaches the same listener as the browser's own connection error, but carries data. */
function readServerError(event: Event): { error?: string } | null {
  if (!(event instanceof MessageEvent) || typeof event.data !== "string") return null;
  return JSON.parse(event.data) as { error?: string };
}
