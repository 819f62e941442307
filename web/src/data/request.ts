/** The server answered, and refused: its own sentence, the status, and the field to blame if it named one. */
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
export async function requestJson<T>(path: string, options: RequestOptions = {}): Promise<T> {
  const { method = "GET", body, signal } = options;
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      signal: signal ?? null,
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } }),
    });
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new UnreachableError("the server cannot be reached", { cause: error });
  }
  if (response.ok) return response.status === 204 ? (undefined as T) : ((await response.json()) as T);
  throw await readRefusal(response);
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

/** What a proxy answers in place of a server that is gone. */
const GATEWAY_STATUSES = new Set([502, 503, 504]);

async function readRefusal(response: Response): Promise<RefusedError | UnreachableError> {
  const detail = (await response.json().catch(() => null)) as { error?: unknown; field?: unknown } | null;
  if (detail === null && GATEWAY_STATUSES.has(response.status)) {
    return new UnreachableError("the server cannot be reached");
  }
  const message =
    typeof detail?.error === "string" ? detail.error : `The server answered ${response.status}.`;
  return new RefusedError(message, response.status, typeof detail?.field === "string" ? detail.field : null);
}

/** Model ids stand in the path as they are, slashes included; everything else in them is escaped. */
export function pathOfId(id: string): string {
  return id.split("/").map(encodeURIComponent).join("/");
}
