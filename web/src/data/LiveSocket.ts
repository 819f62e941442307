import { decodeFrame, type LiveFrame } from "../protocol/LiveFrame";
import type { Subscribe } from "../protocol/schema.generated";
import { socketProtocols } from "./apiKey";
import { socketAddress } from "./serverAddress";

/** States of a socket, as `WebSocket` names them; tests run where there is no `WebSocket`. */
const CONNECTING = 0;
const OPEN = 1;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 8_000;

/**
 * The page's one live connection: subscribe to addresses of a recording, receive the rows of each step.
 * It is open only while there is something to hear, and finds its way back after a cut; rows missed meanwhile
 * are in the store.
 */
export class LiveSocket {
  readonly #onFrame: (frame: LiveFrame) => void;
  #socket: WebSocket | null = null;
  #subscription: Subscribe | null = null;
  #retryMs = FIRST_RETRY_MS;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(onFrame: (frame: LiveFrame) => void) {
    this.#onFrame = onFrame;
  }

  /** Whether rows come this way; where no socket can be opened, they have to be read from the store. */
  get isOpen(): boolean {
    return this.#socket?.readyState === OPEN;
  }

  subscribe(traceId: string, addresses: string[]): void {
    const next: Subscribe = { type: "subscribe", trace_id: traceId, addresses };
    if (JSON.stringify(next) === JSON.stringify(this.#subscription)) return;
    this.#subscription = next;
    if (this.#socket?.readyState === OPEN) this.#socket.send(JSON.stringify(next));
    else this.#connect();
  }

  close(): void {
    this.#subscription = null;
    clearTimeout(this.#retryTimer);
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    // Closing it while it is being opened would be told in the console as a failure.
    if (socket.readyState === CONNECTING) socket.onopen = () => socket.close();
    else socket.close();
  }

  #connect(): void {
    if (this.#socket) return;
    clearTimeout(this.#retryTimer);
    const socket = openSocket();
    if (!socket) {
      this.#retryLater();
      return;
    }
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#retryMs = FIRST_RETRY_MS;
      if (this.#subscription) socket.send(JSON.stringify(this.#subscription));
    };
    socket.onmessage = (event) => {
      if (event.data instanceof ArrayBuffer) this.#onFrame(decodeFrame(event.data));
    };
    socket.onclose = () => {
      if (this.#socket === socket) this.#socket = null;
      if (this.#subscription) this.#retryLater();
    };
    this.#socket = socket;
  }

  #retryLater(): void {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => this.#connect(), this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, LAST_RETRY_MS);
  }
}

/** Null where the browser does not allow one, as under the policy of a page around this one. */
function openSocket(): WebSocket | null {
  try {
    return new WebSocket(socketAddress("/api/live"), socketProtocols());
  } catch {
    return null;
  }
}
