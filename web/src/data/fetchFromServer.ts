import i18next from "i18next";
import { authorized } from "./apiKey";
import { serverAddress } from "./serverAddress";

/** The server refused: its sentence, the status, and the field of the request that it named, if any. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
  readonly status: number;
  readonly field: string | null;

  constructor(message: string, status: number, field: string | null) {
    super(message);
    this.status = status;
    this.field = field;
  }
}

/** The server wants an API key, or another one than it was given. */
export class UnauthorizedError extends RefusedError {
  constructor(message: string) {
    super(message, 401, null);
  }
}

/** No answer at all: the server is not running or out of reach. */
export class UnreachableError extends Error {
  override readonly name = "UnreachableError";
}

export interface RequestOptions {
  method?: "GET" | "POST" | "DELETE";
  body?: unknown;
  signal?: AbortSignal | undefined;
}

/** Asks the server for JSON. Throws RefusedError, UnreachableError, or the signal's AbortError. */
export async function fetchJson<T>(path: string, options: RequestOptions = {}): Promise<T> {
  const { method = "GET", body, signal } = options;
  const response = await fetchFromServer(serverAddress(path), {
    method,
    signal: signal ?? null,
    ...(body === undefined
      ? {}
      : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } }),
  });
  if (response.ok) return response.status === 204 ? (undefined as T) : ((await response.json()) as T);
  throw await readRefusal(response);
}

/** `fetch` with the API key. Throws UnreachableError, or the signal's AbortError. */
export async function fetchFromServer(
  target: string | URL | Request,
  init: RequestInit = {},
): Promise<Response> {
  const given = init.headers ?? (target instanceof Request ? target.headers : undefined);
  try {
    return await fetch(target, { ...init, headers: authorized(given) });
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new UnreachableError(i18next.t("connection.unreachable"), { cause: error });
  }
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

/** What a proxy answers in place of a server that is gone. */
const GATEWAY_STATUSES = new Set([502, 503, 504]);

/** The error for an answer that is not a success. */
export async function readRefusal(response: Response): Promise<RefusedError | UnreachableError> {
  const detail = (await response.json().catch(() => null)) as { error?: unknown; field?: unknown } | null;
  if (detail === null && GATEWAY_STATUSES.has(response.status)) {
    return new UnreachableError(i18next.t("connection.unreachable"));
  }
  const message =
    typeof detail?.error === "string"
      ? detail.error
      : i18next.t("connection.answered", { status: response.status });
  if (response.status === 401) return new UnauthorizedError(message);
  return new RefusedError(message, response.status, typeof detail?.field === "string" ? detail.field : null);
}

/** Model ids stand in the path as they are, slashes included; everything else in them is escaped. */
export function pathOfId(id: string): string {
  return id.split("/").map(encodeURIComponent).join("/");
}
