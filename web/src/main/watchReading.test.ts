import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { liveSource } from "../data/liveSource";
import { startWords } from "../panels/words/startWords";
import type { Effects, Reading, TraceState, Without } from "../protocol/schema.generated";
import { type AppStore, createAppStore } from "../state/createAppStore";
import { toggleOff } from "../state/decision";
import { spainEffects, spainReading, spainTokens } from "../state/spainReading";
import { tinyAnatomy } from "../state/tinyAnatomy";
import { tinyTrace } from "../state/tinyTrace";
import { watchReading } from "./watchReading";
import { watchWithout } from "./watchWithout";

const WAIT = { timeout: 5_000, interval: 5 };
const block = tinyAnatomy.blocks[0];
const anatomy = { ...tinyAnatomy, blocks: Array.from({ length: 30 }, () => block).filter((each) => !!each) };
const trace: TraceState = { ...tinyTrace, tokens: spainTokens, prompt_count: 19, positions: 19 };

let server: Server;
/** What was asked, oldest first. */
let asked: string[];
/** Answers to what these match wait until they are let go. */
let held: { pattern: RegExp; let: (() => void)[] };
let broken: boolean;
/** The recording was given up. */
let gone: boolean;
let store: AppStore;
let page: EventTarget & { hidden: boolean };

beforeAll(() => startWords("en"));

beforeEach(async () => {
  asked = [];
  held = { pattern: /never/, let: [] };
  broken = false;
  gone = false;
  server = createServer((request, response) => {
    const path = (request.url ?? "").replace("/api/traces/a/", "");
    asked.push(path);
    if (broken) response.writeHead(502).end();
    else if (gone) response.writeHead(404).end(JSON.stringify({ error: "There is no recording a." }));
    else if (held.pattern.test(path)) held.let.push(() => answer(path, response));
    else answer(path, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  vi.stubGlobal("window", { location: { href: `http://127.0.0.1:${port}/llm` } });
  page = Object.assign(new EventTarget(), { hidden: false });
  store = createAppStore({ connection: "online", anatomy });
  watchReading(store, liveSource, page);
  watchWithout(store, liveSource);
});
afterEach(() => {
  page.hidden = true;
  store.setState({ trace: null });
  server.closeAllConnections();
  server.close();
  vi.unstubAllGlobals();
});

/** As the server answers: real numbers at every position, so that which one is shown tells where it is from. */
function answer(path: string, response: ServerResponse): void {
  const query = new URLSearchParams(path.split("?")[1]);
  const position = Number(query.get("pos"));
  const versus = Number(query.get("versus")) || ("mean" as const);
  const blocks = query.get("blocks") ?? "none";
  const [first = 0, last = 0] = blocks.split("-").map(Number);
  const parts = spainEffects.parts.filter((part) =>
    blocks === "none"
      ? part.kind === "token"
      : part.block != null && part.block >= first && part.block <= last,
  );
  const answers: Record<string, Reading | Effects | Without> = {
    reading: { ...spainReading, position, versus },
    effects: { ...spainEffects, position, versus, blocks: blocks === "none" ? null : [first, last], parts },
    without: {
      position,
      token: spainReading.token,
      parts: query.getAll("part"),
      off: "zero",
      probability: 0.06,
      lens: [],
      tokens: [],
    },
  };
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify(answers[path.split("?")[0] ?? ""]));
}

const until = (condition: () => boolean) => vi.waitUntil(condition, WAIT);
const state = () => store.getState();
const effectsOf = (pos: number, versus = "mean") =>
  ["none", "20-29", "10-19", "0-9"].map((blocks) => `effects?pos=${pos}&versus=${versus}&blocks=${blocks}`);
const readAll = () => until(() => state().effects.status === "ready");

test("the reading comes first, then the words of the text, then blocks from the last upward", async () => {
  held.pattern = /blocks=20/;
  store.setState({ trace });
  expect(state().reading.status).toBe("loading");
  await until(() => held.let.length === 1);
  expect(state().effects.status).toBe("loading");
  expect(state().effects.value?.parts.every((part) => part.kind === "token")).toBe(true);
  for (const go of held.let) go();
  await readAll();
  expect(asked).toEqual(["reading?pos=18&versus=mean", ...effectsOf(18)]);
  expect(state().effects.value?.parts).toEqual(spainEffects.parts);
});

test("another position keeps the reading before until its own is there, and drops what was being tested", async () => {
  held.pattern = /pos=18.*blocks=10/;
  store.setState({ trace });
  await until(() => held.let.length === 1);
  held.pattern = /reading\?pos=5/;
  store.setState({ position: 5 });
  expect(state().reading).toMatchObject({ status: "loading", value: { position: 18 } });
  await until(() => held.let.length === 2);
  for (const go of held.let) go();
  await until(() => state().reading.value?.position === 5);
  await readAll();
  expect(state().effects.value?.position).toBe(5);
  expect(asked.slice(4)).toEqual(["reading?pos=5&versus=mean", ...effectsOf(5)]);
  // Back again: what was known comes at once, and only what was left is asked for.
  asked = [];
  store.setState({ position: null });
  expect(state().reading).toMatchObject({ status: "ready", value: { position: 18 } });
  await readAll();
  expect(asked).toEqual(effectsOf(18).slice(2));
  asked = [];
  store.setState({ position: 5 });
  expect(state().effects.status).toBe("ready");
  expect(asked).toEqual([]);
});

test("another word to be held against is another question of the same decision", async () => {
  store.setState({ trace });
  await readAll();
  store.setState({ versus: 7476, position: 18 });
  expect(state().reading).toMatchObject({ status: "loading", value: { versus: "mean" } });
  await until(() => state().reading.value?.versus === 7476);
  await readAll();
  expect(asked.slice(5)).toEqual(["reading?pos=18&versus=7476", ...effectsOf(18, "7476")]);
  store.setState({ position: 4 });
  expect(state().versus).toBe("mean");
});

test("who steps from token to token finds the next reading there, also where it is still under way", async () => {
  store.setState({ trace });
  await readAll();
  asked = [];
  store.setState({ position: 17 });
  await readAll();
  await until(() => asked.length === 6);
  expect(asked).toEqual(["reading?pos=17&versus=mean", ...effectsOf(17), "reading?pos=16&versus=mean"]);
  held.pattern = /reading\?pos=15/;
  await until(() => state().reading.status === "ready");
  asked = [];
  store.setState({ position: 16 });
  await until(() => held.let.length === 1);
  expect(asked).toEqual([...effectsOf(16), "reading?pos=15&versus=mean"]);
  store.setState({ position: 15 });
  expect(state().reading).toMatchObject({ status: "loading", value: { position: 16 } });
  for (const go of held.let) go();
  await until(() => state().reading.value?.position === 15);
  await readAll();
  expect(asked.filter((path) => path.startsWith("reading?pos=15"))).toHaveLength(1);
});

test("while a text is written few readings are asked for and nothing is tested", async () => {
  const written = (count: number): TraceState => ({
    ...trace,
    status: "running",
    tokens: Array.from(
      { length: 19 + count },
      (_, at) => spainTokens[at % 19] ?? { id: 0, text: "", special: false },
    ),
    positions: 18 + count,
  });
  store.setState({ trace: written(1), activity: "generating" });
  for (let count = 2; count < 30; count += 1) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    store.setState({ trace: written(count) });
  }
  await until(() => state().reading.value !== null);
  expect(asked.length).toBeLessThanOrEqual(3);
  expect(asked.filter((path) => path.startsWith("effects"))).toEqual([]);
  store.setState({ trace: { ...written(29), status: "done" }, activity: "idle" });
  await readAll();
  expect(state().reading.value?.position).toBe(46);
  expect(asked.slice(-5)).toEqual(["reading?pos=46&versus=mean", ...effectsOf(46)]);
});

test("nothing is asked for while nobody sees the page, and the rest once somebody does", async () => {
  page.hidden = true;
  store.setState({ trace });
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(asked).toEqual([]);
  page.hidden = false;
  page.dispatchEvent(new Event("visibilitychange"));
  await readAll();
  expect(asked).toHaveLength(5);
});

test("a failure is told, and what failed is asked for again when the server is back", async () => {
  broken = true;
  store.setState({ trace });
  await until(() => state().reading.status === "failed");
  expect(state().connection).toBe("lost");
  expect(state().reading.error).toBe("The server cannot be reached.");
  expect(asked).toHaveLength(1);
  broken = false;
  store.setState({ connection: "online" });
  await readAll();
  expect(state().reading).toMatchObject({ status: "ready", error: null });
});

test("of a recording that is gone the server's sentence is shown, once, and what was read before stays", async () => {
  store.setState({ trace });
  await readAll();
  gone = true;
  store.setState({ position: 3 });
  await until(() => state().reading.status === "failed");
  expect(state().reading).toMatchObject({ value: null, error: "There is no recording a." });
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(asked).toHaveLength(6);
  store.setState({ position: null });
  expect(state().reading).toMatchObject({ status: "ready", error: null, value: { position: 18 } });
});

test("parts are off together, for one decision", async () => {
  store.setState({ trace });
  await readAll();
  store.setState(toggleOff(state(), "head.24.4"));
  store.setState(toggleOff(state(), "token.17"));
  await until(() => state().without.status === "ready");
  expect(asked.at(-1)).toBe("without?pos=18&part=head.24.4&part=token.17");
  expect(state()).toMatchObject({ position: 18, without: { value: { parts: ["head.24.4", "token.17"] } } });
  // A position always reads itself.
  expect(toggleOff(state(), "token.18")).toEqual({});
  store.setState(toggleOff(state(), "token.17"));
  await until(() => state().without.value?.parts.length === 1);
  store.setState({ position: 4 });
  expect(state()).toMatchObject({ off: [], without: { status: "empty", value: null } });
});

test("once the model has read its text anew, the decision without parts is asked for anew", async () => {
  store.setState({ trace });
  await readAll();
  store.setState(toggleOff(state(), "head.24.4"));
  await until(() => state().without.status === "ready");
  asked = [];
  store.setState({ trace: { ...trace, rewritten: 1 } });
  expect(state().without).toMatchObject({ status: "loading", value: { parts: ["head.24.4"] } });
  await until(() => state().without.status === "ready");
  expect(asked).toContain("without?pos=18&part=head.24.4");
});

test("another text takes the reading of the last one away, one that goes on keeps it", async () => {
  store.setState({ trace });
  await readAll();
  const tokens = [...spainTokens, { id: 28030, text: " Madrid", special: false }];
  store.setState({ trace: { ...trace, tokens, positions: 20 } });
  expect(state().reading).toMatchObject({ status: "loading", value: { position: 18 } });
  await readAll();
  store.setState({ trace: { ...tinyTrace, id: "b", positions: 3 } });
  expect(state().reading).toMatchObject({ status: "loading", value: null });
});

test("who runs along the text asks for where they set out and where they stop", async () => {
  store.setState({ trace });
  await readAll();
  await new Promise((resolve) => setTimeout(resolve, 250));
  asked = [];
  for (const position of [15, 12, 9, 6]) {
    store.setState({ position });
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await until(() => state().reading.value?.position === 6);
  const readings = asked.filter((path) => path.startsWith("reading"));
  expect(readings.at(-1)).toBe("reading?pos=6&versus=mean");
  for (const passed of [12, 9]) expect(readings).not.toContain(`reading?pos=${passed}&versus=mean`);
});
