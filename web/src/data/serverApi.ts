import { filterSettings } from "../protocol/filterSettings";
import { decodeFrame, type LiveFrame } from "../protocol/LiveFrame";
import type { PromptToken } from "../protocol/PromptToken";
import type {
  Anatomy,
  Distribution,
  Explanation,
  ModelList,
  ModelSummary,
  Sampling,
  TraceList,
  TraceRequest,
  TraceState,
} from "../protocol/schema.generated";
import { fetchFromServer, fetchJson, pathOfId, readRefusal } from "./fetchFromServer";
import type { CellReference, RowsReference } from "./Source";
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
