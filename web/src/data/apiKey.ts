/** Kept for this tab alone, and only as long as it is open. */
const STORED_AS = "glassformer.apiKey";
/** What a WebSocket sends in place of a header; see `server/security.py`. */
const KEY_SUBPROTOCOL = "glassformer.key.";
const SUBPROTOCOL = "glassformer";

let key: string | null = null;

/** Takes up the key that this tab was given before it was loaded again. */
export function restoreApiKey(storage: Pick<Storage, "getItem">): void {
  key = storage.getItem(STORED_AS);
}

export function setApiKey(storage: Pick<Storage, "setItem">, given: string): void {
  key = given;
  storage.setItem(STORED_AS, given);
}

export function hasApiKey(): boolean {
  return key !== null;
}

/** The headers of a request, with the key if one is known. */
export function authorized(headers?: HeadersInit): Headers {
  const all = new Headers(headers);
  if (key !== null) all.set("Authorization", `Bearer ${key}`);
  return all;
}

/** Browsers set no headers of a WebSocket: the key travels as a subprotocol, base64url without padding. */
export function socketProtocols(): string[] {
  if (key === null) return [SUBPROTOCOL];
  const bytes = new TextEncoder().encode(key);
  const code = btoa(String.fromCharCode(...bytes));
  const safe = code.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  return [SUBPROTOCOL, KEY_SUBPROTOCOL + safe];
}
