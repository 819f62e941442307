import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { liveSource } from "../data/liveSource";
import { MatrixReader } from "../data/MatrixReader";
import { startWords } from "../panels/words/startWords";
import type { Heads, TraceState } from "../protocol/schema.generated";
import { type AppStore, createAppStore } from "../state/createAppStore";
import { tinyAnatomy } from "../state/tinyAnatomy";
import { tinyTrace } from "../state/tinyTrace";
import { watchHeads } from "./watchHeads";

const WAIT = { timeout: 5_000, interval: 5 };
const block = tinyAnatomy.blocks[0];
const anatomy = { ...tinyAnatomy, blocks: Array.from({ length: 23 }, () => block).filter((each) => !!each) };
const trace: TraceState = { ...tinyTrace, positions: tinyTrace.tokens.length, status: "done" };

let server: Server;
/** What was asked, oldest first. */
let asked: string[];
let broken: boolean;
let store: AppStore;

beforeAll(() => startWords("en"));

beforeEach(async () => {
  asked = [];
  broken = false;
  server = createServer((request, response) => {
    asked.push(request.url ?? "");
    if (broken) response.writeHead(502).end();
    else answer(request.url ?? "", response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  vi.stubGlobal("window", { location: { href: `http://127.0.0.1:${port}/llm` } });
  store = createAppStore({ connection: "online", anatomy, trace });
  watchHeads(store, liveSource, new MatrixReader(liveSource));
});
afterEach(() => {
  store.setState({ headsWanted: false });
  server.closeAllConnections();
  server.close();
  vi.unstubAllGlobals();
});

/** As the server answers, with one head a block. */
function answer(path: string, response: ServerResponse): void {
  const [first = 0, last = 0] = (new URLSearchParams(path.split("?")[1]).get("blocks") ?? "")
    .split("-")
    .map(Number);
  const over = { previous: 1, first: 1, induction: 1, duplicate: 1, entropy: 1 };
  const scores = { previous: 0, first: 0, induction: 0, duplicate: 0, entropy_bits: 0, entropy_share: 0 };
  const heads: Heads = {
    start: 0,
    stop: trace.positions,
    blocks: Array.from({ length: last - first + 1 }, (_, at) => ({
      block: first + at,
      over,
      heads: [{ head: 0, ...scores }],
    })),
    refused: [],
  };
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify(heads));
}

const until = (condition: () => boolean) => vi.waitUntil(condition, WAIT);
const state = () => store.getState();
const readAll = () => until(() => state().heads.status === "ready");
const pieces = (id: string) =>
  ["0-9", "10-19", "20-22"].map((blocks) => `/api/traces/${id}/heads?blocks=${blocks}`);

test("nothing is asked for until somebody looks, and then ten blocks at a time", async () => {
  const counts: number[] = [];
  store.subscribe(({ heads }) => counts.push(heads.value?.blocks.length ?? 0));
  store.setState({ steps: {} });
  expect(asked).toEqual([]);
  store.setState({ headsWanted: true });
  await readAll();
  expect(asked).toEqual(pieces(trace.id));
  expect(state().heads.value?.blocks.map((each) => each.block)).toEqual(
    Array.from({ length: 23 }, (_, at) => at),
  );
  expect(counts).toContain(10);
  expect(counts).toContain(20);
});

test("what is known of a text is not asked for again", async () => {
  store.setState({ headsWanted: true });
  await readAll();
  store.setState({ headsWanted: false });
  store.setState({ headsWanted: true });
  expect(state().heads.status).toBe("ready");
  expect(asked).toEqual(pieces(trace.id));
});

test("a text that is being written is read once it is there; the old heads stay, and are seen to be old", async () => {
  store.setState({ headsWanted: true });
  await readAll();
  const old = state().heads.value;
  store.setState({ trace: { ...trace, id: "b", status: "running" } });
  expect(state().heads).toEqual({ status: "loading", value: old, error: null });
  store.setState({ trace: { ...trace, id: "b", status: "running", positions: trace.positions + 1 } });
  expect(asked).toEqual(pieces(trace.id));
  store.setState({ trace: { ...trace, id: "b", status: "done", positions: trace.positions + 1 } });
  await readAll();
  expect(asked.slice(3)).toEqual(pieces("b"));
});

test("what failed is told, and asked for again when the server is back", async () => {
  broken = true;
  store.setState({ headsWanted: true });
  await until(() => state().heads.status === "failed");
  expect(state().heads.error).toBeTruthy();
  broken = false;
  store.setState({ connection: "lost" });
  store.setState({ connection: "online" });
  await readAll();
  expect(state().heads.value?.blocks.length).toBe(23);
});
