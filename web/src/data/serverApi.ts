import { filterSettings } from "../protocol/filterSettings";
import { decodeFrame, type LiveFrame } from "../protocol/LiveFrame";
import type { PromptToken } from "../protocol/PromptToken";
import type {
  Anatomy,
  Distribution,
  Effects,
  Explanation,
  Heads,
  ModelList,
  ModelShape,
  ModelSummary,
  Reading,
  Sampling,
  ShapeList,
  TraceList,
  TraceRequest,
  TraceState,
  Without,
} from "../protocol/schema.generated";
import { fetchFromServer, fetchJson, pathOfId, readRefusal } from "./fetchFromServer";
import type { CellReference, DecisionReference, RowsReference } from "./Source";
import { serverAddress } from "./serverAddress";

/** What a trace is asked for; the server fills in what is left out. */
export type NewTrace = Partial<TraceRequest> & Pick<TraceRequest, "model_id">;

export function fetchModels(signal?: AbortSignal): Promise<ModelList> {
  return fetchJson("/api/models", { signal });
}

/** Starts loading; refuses at once (404, 422) what cannot be loaded. Progress comes from `watchLoad`. */
export function startLoad(modelId: string, signal?: AbortSignal): Promise<ModelSummary> {
  return fetchJson(`/api/models/${pathOfId(modelId)}/load`, { method: "POST", signal });
}

export function fetchAnatomy(modelId: string, signal?: AbortSignal): Promise<Anatomy> {
  return fetchJson(`/api/models/${pathOfId(modelId)}/anatomy`, { signal });
}

export function fetchShapes(): Promise<ShapeList> {
  return fetchJson("/api/shapes");
}

/** A model drawn from its config alone; loads nothing. */
export function fetchShape(shapeId: string, signal?: AbortSignal): Promise<ModelShape> {
  return fetchJson(`/api/shapes/${pathOfId(shapeId)}/anatomy`, { signal });
}

export function fetchTraces(signal?: AbortSignal): Promise<TraceList> {
  return fetchJson("/api/traces", { signal });
}

export function fetchTrace(traceId: string, signal?: AbortSignal): Promise<TraceState> {
  return fetchJson(`/api/traces/${encodeURIComponent(traceId)}`, { signal });
}

export function createTrace(request: NewTrace, signal?: AbortSignal): Promise<TraceState> {
  return fetchJson("/api/traces", { method: "POST", body: request, signal });
}

export function stopTrace(traceId: string): Promise<TraceState> {
  return fetchJson(`/api/traces/${traceId}/stop`, { method: "POST" });
}

export function deleteTrace(traceId: string): Promise<void> {
  return fetchJson(`/api/traces/${traceId}`, { method: "DELETE" });
}

/** The next-token distribution at a recorded position, before and after the filters. */
export function fetchDistribution(
  traceId: string,
  position: number,
  sampling: Sampling,
  signal?: AbortSignal,
): Promise<Distribution> {
  const query = new URLSearchParams({ pos: String(position) });
  for (const [name, value] of Object.entries(filterSettings(sampling))) query.set(name, String(value));
  return fetchJson(`/api/traces/${traceId}/distribution?${query}`, { signal });
}

export function fetchExplanation(
  traceId: string,
  cell: CellReference,
  signal?: AbortSignal,
): Promise<Explanation> {
  const query = new URLSearchParams({ address: cell.address, index: cell.index.join(",") });
  return fetchJson(`/api/traces/${traceId}/explain?${query}`, { signal });
}

/** What mattered for a decision. The server takes the token that was written there, else the likeliest. */
export function fetchReading(decision: DecisionReference, signal?: AbortSignal): Promise<Reading> {
  return fetchJson(pathOfDecision("reading", decision), { signal });
}

/** What parts are worth to a decision. `blocks` are those tested, as in `20-29`; "none" tests the words of the text. */
export function fetchEffects(
  decision: DecisionReference,
  blocks: string,
  signal?: AbortSignal,
): Promise<Effects> {
  return fetchJson(`${pathOfDecision("effects", decision)}&blocks=${blocks}`, { signal });
}

/** The decision with parts switched off together. */
export function fetchWithout(
  decision: Omit<DecisionReference, "versus">,
  parts: readonly string[],
  signal?: AbortSignal,
): Promise<Without> {
  const query = new URLSearchParams({ pos: String(decision.position) });
  for (const part of parts) query.append("part", part);
  return fetchJson(`/api/traces/${encodeURIComponent(decision.traceId)}/without?${query}`, { signal });
}

function pathOfDecision(kind: string, { traceId, position, versus }: DecisionReference): string {
  const query = new URLSearchParams({ pos: String(position), versus: String(versus) });
  return `/api/traces/${encodeURIComponent(traceId)}/${kind}?${query}`;
}

export function fetchHeads(traceId: string, blocks: string, signal?: AbortSignal): Promise<Heads> {
  const query = new URLSearchParams({ blocks });
  return fetchJson(`/api/traces/${encodeURIComponent(traceId)}/heads?${query}`, { signal });
}

export async function fetchRows(
  traceId: string,
  rows: RowsReference,
  signal: AbortSignal,
): Promise<LiveFrame> {
  const { addresses, start, stop, level } = rows;
  const query = new URLSearchParams({ start: `${start}`, stop: `${stop}`, level: `${level}` });
  for (const address of addresses) query.append("address", address);
  const response = await fetchFromServer(serverAddress(`/api/traces/${traceId}/rows?${query}`), { signal });
  if (!response.ok) throw await readRefusal(response);
  return decodeFrame(await response.arrayBuffer());
}

interface Tokenized {
  token_ids: number[];
  tokens: string[];
  special?: boolean[];
  bytes?: (number[] | null)[];
  left_off?: number[];
}

/** The tokens of a prompt, as the model will see them. */
export async function tokenize(
  modelId: string,
  prompt: string,
  signal?: AbortSignal,
): Promise<PromptToken[]> {
  const body = { model_id: modelId, prompt };
  const answer = await fetchJson<Tokenized>("/tokenize", { method: "POST", body, signal });
  const leftOff = new Set(answer.left_off);
  return answer.token_ids.map((id, at) => ({
    id,
    text: answer.tokens[at] ?? "",
    special: answer.special?.[at] ?? false,
    bytes: answer.bytes?.[at] ?? null,
    leftOff: leftOff.has(at),
  }));
}
