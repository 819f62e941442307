import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { liveSource } from "../data/liveSource";
import type { TraceState } from "../protocol/schema.generated";
import { type AppStore, createAppStore } from "../state/createAppStore";
import { tinyAnatomy } from "../state/tinyAnatomy";
import { tinyTrace } from "../state/tinyTrace";
import { watchDistribution } from "./watchDistribution";

const WAIT = { timeout: 5_000, interval: 5 };

let server: Server;
/** Positions and temperatures asked for, oldest first. */
let asked: string[];
/** Positions whose question was given up before it was answered. */
let closed: string[];
/** How long an answer takes. */
let answerMs: number;
let store: AppStore;

beforeEach(async () => {
  asked = [];
  closed = [];
  answerMs = 0;
  server = createServer((request, response) => {
    const query = new URLSearchParams(request.url?.split("?")[1]);
    const pos = query.get("pos") ?? "";
    asked.push(`${pos} ${query.get("temperature")}`);
    response.on("close", () => !response.writableEnded && closed.push(pos));
    setTimeout(() => response.end(JSON.stringify({ pos: Number(pos), candidates: [] })), answerMs);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  vi.stubGlobal("window", { location: { href: `http://127.0.0.1:${port}/llm` } });
  store = createAppStore({ connection: "online", anatomy: tinyAnatomy });
  watchDistribution(store, liveSource);
});
afterEach(() => {
  store.setState({ trace: null });
  server.closeAllConnections();
  server.close();
  vi.unstubAllGlobals();
});

const state = () => store.getState();
const shown = () => state().distribution.value?.pos;
const until = (condition: () => boolean) => vi.waitUntil(condition, WAIT);
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** The text after so many tokens. */
const written = (count: number): TraceState => ({
  ...tinyTrace,
  status: "running",
  tokens: Array.from({ length: count }, (_, id) => ({ id, text: "A", special: false })),
  positions: count,
});

async function write(from: number, to: number, everyMs: number): Promise<void> {
  for (let count = from; count <= to; count += 1) {
    store.setState({ trace: written(count) });
    await pause(everyMs);
  }
}

test("while a slow server writes, it is asked seldom, and of the last token at once", async () => {
  answerMs = 350;
  store.setState({ activity: "generating" });
  await write(3, 120, 10);
  expect(asked).toEqual(["2 0.7"]);
  answerMs = 0;
  store.setState({ trace: { ...written(121), status: "done" }, activity: "idle" });
  await until(() => shown() === 119);
  expect(asked).toHaveLength(2);
});

test("while a text is written, a click and a slider wait for nothing that only follows it", async () => {
  answerMs = 60_000;
  store.setState({ activity: "generating" });
  await write(3, 8, 10);
  await until(() => asked.length === 1);
  answerMs = 0;
  store.setState({ position: 1 });
  await until(() => shown() === 1 && closed.length === 1);
  expect([asked, closed]).toEqual([["2 0.7", "1 0.7"], ["2"]]);
  store.setState({ position: 0 });
  await until(() => shown() === 0);
  store.setState(({ sampling }) => ({ position: null, sampling: { ...sampling, temperature: 1 } }));
  await until(() => shown() === 7);
  expect(asked.slice(2)).toEqual(["0 0.7", "7 1"]);
});

test("while a slider moves, answers are shown along the way and the last one is asked for", async () => {
  store.setState({ trace: tinyTrace });
  await until(() => shown() === 2);
  answerMs = 50;
  for (let temperature = 1; temperature <= 20; temperature += 1) {
    store.setState(({ sampling }) => ({ sampling: { ...sampling, temperature } }));
    await pause(10);
  }
  await until(() => state().distribution.status === "ready");
  expect(asked.at(-1)).toBe("2 20");
  expect(asked.length).toBeLessThan(12);
  expect(closed).toEqual([]);
});
