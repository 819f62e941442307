import { readFile } from "node:fs/promises";
import type { Browser, CDPSession, Page } from "playwright-core";
import { openPage, type WatchedPage } from "./browser.ts";
import { comeNear, readState, readStats, waitForFullPicture, waitForState } from "./drive.ts";
import { measureOrbit, median, probeFrames, quantile } from "./frameProbe.ts";
import { measureMoved } from "./measureMoved.ts";
import { servePlainScene } from "./plainScene.ts";
import { type RunningServer, startServer } from "./server.ts";

const IDLE_SECS = 5;
/** Orbits are timed in turns with a plain scene's, so that whatever slows the machine slows both. */
const ORBIT_ROUNDS = 3;
/** Memory is measured over so many tokens, once the first ones have filled what is kept of the last ones. */
const [FIRST_TOKENS, WRITTEN_TOKENS] = [60, 200];
/** Text that a small model goes on with to the end of what it may write. */
const ENDLESS = { choices: null, json_schema: null, regex: "[^<]{4000}" };
const WATCHED_TOKENS = 60;
const WORK_ROUNDS = 3;
/** Of one core, what a server uses that has nothing to do. */
const IDLE_SHARE = 0.03;
const GENERATION_TIMEOUT_MS = 300_000;
/** 60 tokens, of which the last ones make a question that a small model can answer. */
const LONG_TEXT =
  "The capital of France is Paris. The capital of Italy is Rome. The capital of Germany is Berlin. " +
  "The capital of Austria is Vienna. The capital of Portugal is Lisbon. The capital of Greece is Athens. " +
  "The capital of Ireland is Dublin. The capital of Norway is Oslo. The capital of Spain is";
/** The beginning of a text that a model goes on with for long. */
const STORY = "Once upon a time, in a small village by the sea, there lived a fisherman who";

/**
 * What the page costs: bytes, frames, memory, and work of the server's. `realModel` is the folder name of a real model
 * below `modelDir`, `llmViz` the address of a built llm-viz, where those are at hand.
 */
export async function measurePage(browser: Browser): Promise<Record<string, unknown>> {
  const { MODEL_DIR: modelDir, REAL_MODEL: realModel, LLM_VIZ_URL: llmViz } = process.env;
  const server = await startServer(modelDir ? ["--model-dir", modelDir] : []);
  try {
    return {
      tales: await measureModel(browser, server.url, "model=tales"),
      sorter: await measureModel(browser, server.url, "model=sorter"),
      moved: await measureMoved(browser, server.url, "model=tales"),
      orbits: await measureOrbits(browser, server.url, llmViz),
      written: {
        near: await measureWritten(browser, server.url, "tales", true),
        far: realModel ? await measureWritten(browser, server.url, realModel, false) : null,
      },
      real: realModel ? await measureReal(browser, server, realModel) : null,
    };
  } finally {
    await server.stop();
  }
}

async function measureReal(browser: Browser, server: RunningServer, model: string) {
  const query = `model=${encodeURIComponent(model)}&prompt=${encodeURIComponent(LONG_TEXT)}`;
  return {
    ...(await measureModel(browser, server.url, query)),
    moved: await measureMoved(browser, server.url, query),
    arrivingScriptMs: await measureArriving(browser, server.url, query),
    ...(await measureServerWork(browser, server, model, query)),
  };
}

/** Opens the page on a recording: how long until all is there, what came over the wire, what an idle page draws. */
async function measureModel(browser: Browser, url: string, query: string) {
  const options = { path: `/llm/?${query}`, reducedMotion: true };
  // Once to warm the server: what is measured is the page.
  const warming = await openPage(browser, url, options);
  await waitForFullPicture(warming.page);
  await warming.close();
  const opened = await openPage(browser, url, options);
  const { lastFrameMs } = await waitForFullPicture(opened.page);
  const transferred = opened.transferredBytes();
  const before = await readStats(opened.page);
  await opened.page.waitForTimeout(IDLE_SECS * 1_000);
  const after = await readStats(opened.page);
  const heapBytes = await readHeapBytes(await openSession(opened));
  const tokens = await readState(opened.page, (state) => state.trace?.tokens.length ?? 0);
  await opened.close();
  return {
    tokens,
    fullPictureMs: lastFrameMs,
    assetBytes: transferred.assets,
    dataBytes: transferred.data,
    drawCalls: before.drawCalls,
    triangles: before.triangles,
    textureBytes: before.textureBytes,
    heapBytes,
    idleFrames: after.frames - before.frames,
  };
}

/** A frame while the camera moves, as a multiple of a plain three.js scene's in the same browser. */
async function measureOrbits(browser: Browser, url: string, llmViz: string | undefined) {
  const plain = await servePlainScene();
  const yardstick = await openPage(browser, plain.url, { path: "/", prepare: probeFrames });
  try {
    const ratioOf = async (page: Page) => {
      const ratios: number[] = [];
      for (let round = 0; round < ORBIT_ROUNDS; round += 1) {
        const plainMs = await measureOrbit(yardstick.page);
        ratios.push((await measureOrbit(page)) / plainMs);
      }
      return median(ratios);
    };
    const ratioAt = async (path: string) => {
      const opened = await openPage(browser, url, { path, reducedMotion: true, prepare: probeFrames });
      await waitForState(opened.page, (state) => state.anatomy !== null && state.activity === "idle");
      await opened.page.waitForTimeout(2_000);
      const ratio = await ratioOf(opened.page);
      await opened.close();
      return ratio;
    };
    return {
      tales: await ratioAt("/llm/?model=tales"),
      gpt3: await ratioAt("/llm/?shape=gpt3-175b"),
      llmViz: llmViz ? await measureLlmViz(browser, llmViz, ratioOf) : null,
    };
  } finally {
    await yardstick.close();
    plain.stop();
  }
}

async function measureLlmViz(browser: Browser, url: string, ratioOf: (page: Page) => Promise<number>) {
  const opened = await openPage(browser, url, { path: "", prepare: probeFrames });
  await opened.page.waitForTimeout(5_000);
  const toy = await ratioOf(opened.page);
  await opened.page.getByText("GPT-3", { exact: true }).click();
  await opened.page.waitForTimeout(8_000);
  const gpt3 = await ratioOf(opened.page);
  await opened.close();
  return { toy, gpt3 };
}

/** Writes a long text, watched from afar or with its matrices near: the page's memory after its first tokens and at its end. */
async function measureWritten(browser: Browser, url: string, model: string, isNear: boolean) {
  const query = `model=${encodeURIComponent(model)}&prompt=${encodeURIComponent(STORY)}`;
  const path = `/llm/?${query}&tokens=${FIRST_TOKENS + WRITTEN_TOKENS}&temperature=1&seed=1`;
  const opened = await openPage(browser, url, { path, reducedMotion: true });
  const { page } = opened;
  await waitForFullPicture(page);
  if (isNear) {
    await comeNear(page, { x: 700, y: 450 });
    await waitForFullPicture(page);
  }
  const session = await openSession(opened);
  const read = async () => ({
    heapBytes: await readHeapBytes(session),
    ...(await readStats(page)),
    tokens: await readState(page, ({ trace }) => (trace ? trace.tokens.length - trace.prompt_count : 0)),
  });
  await page.evaluate(
    (constraint) =>
      window.glassformer.store.setState(({ sampling }) => ({ sampling: { ...sampling, constraint } })),
    ENDLESS,
  );
  await page.getByTestId("generate").click();
  await page.waitForFunction(
    (count) => {
      const { activity, trace } = window.glassformer.store.getState();
      return activity === "generating" && trace !== null && trace.tokens.length - trace.prompt_count >= count;
    },
    FIRST_TOKENS,
    { timeout: GENERATION_TIMEOUT_MS, polling: 20 },
  );
  const first = await read();
  await page.waitForFunction(() => window.glassformer.store.getState().activity === "idle", undefined, {
    timeout: GENERATION_TIMEOUT_MS,
    polling: 100,
  });
  await page.waitForTimeout(2_000);
  const last = await read();
  await opened.close();
  return {
    tokens: last.tokens - first.tokens,
    heapBytes: [first.heapBytes, last.heapBytes],
    textureBytes: [first.textureBytes, last.textureBytes],
  };
}

/** What the page's own scripts take of a frame while a block's matrices arrive: the 95th of a hundred. */
async function measureArriving(browser: Browser, url: string, query: string): Promise<number> {
  const path = `/llm/?${query}`;
  const opened = await openPage(browser, url, { path, reducedMotion: true, prepare: probeFrames });
  await waitForFullPicture(opened.page);
  await opened.page.evaluate(() => {
    window.frameProbe?.reset();
    window.glassformer.scene.focus(["attn_probs.3", "mlp_act.3", "q.3", "k.3", "v.3"]);
  });
  await opened.page.waitForTimeout(8_000);
  const scriptMs = await opened.page.evaluate(() => window.frameProbe?.costs.scriptMs ?? []);
  await opened.close();
  return quantile(scriptMs, 0.95);
}

/**
 * Seconds of the server's processor for each token: asked of the API alone, watched from afar, and near one head. Each
 * time only once the server has nothing else to do, as checks of the model, and in turns; medians.
 */
async function measureServerWork(browser: Browser, server: RunningServer, model: string, query: string) {
  const rounds: Record<"alone" | "far" | "near", number[]> = { alone: [], far: [], near: [] };
  const watch = async (near: string[]) => {
    const path = `/llm/?${query}&tokens=${WATCHED_TOKENS}&temperature=0`;
    const opened = await openPage(browser, server.url, { path, reducedMotion: true });
    await waitForFullPicture(opened.page);
    if (near.length > 0)
      await opened.page.evaluate((addresses) => window.glassformer.scene.focus(addresses), near);
    await waitUntilIdle(server);
    const seconds = await secondsPerToken(server, () => generate(opened.page));
    await opened.close();
    return seconds;
  };
  for (let round = 0; round < WORK_ROUNDS; round += 1) {
    await waitUntilIdle(server);
    rounds.alone.push(await secondsPerToken(server, () => askApi(server.url, model)));
    rounds.far.push(await watch([]));
    rounds.near.push(await watch(["attn_probs.3"]));
  }
  return { alone: median(rounds.alone), far: median(rounds.far), near: median(rounds.near) };
}

async function waitUntilIdle(server: RunningServer): Promise<void> {
  for (let before = -1; ; ) {
    const now = await readProcessorSecs(server.pid);
    if (before >= 0 && now - before < IDLE_SHARE * IDLE_SECS) return;
    before = now;
    await new Promise((resolve) => setTimeout(resolve, IDLE_SECS * 1_000));
  }
}

async function secondsPerToken(server: RunningServer, write: () => Promise<number>): Promise<number> {
  const before = await readProcessorSecs(server.pid);
  const tokens = await write();
  return ((await readProcessorSecs(server.pid)) - before) / tokens;
}

async function askApi(url: string, model: string): Promise<number> {
  const answer = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ model, prompt: LONG_TEXT, max_tokens: WATCHED_TOKENS, temperature: 0 }),
  });
  if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
  const { usage } = (await answer.json()) as { usage: { completion_tokens: number } };
  return usage.completion_tokens;
}

/** Presses Generate and waits for the end; returns how many tokens were written. */
async function generate(page: Page): Promise<number> {
  await page.getByTestId("generate").click();
  await waitForState(page, (state) => state.activity === "generating");
  await page.waitForFunction(() => window.glassformer.store.getState().activity === "idle", undefined, {
    timeout: GENERATION_TIMEOUT_MS,
    polling: 100,
  });
  return readState(page, ({ trace }) => (trace ? trace.tokens.length - trace.prompt_count : 0));
}

async function openSession(opened: WatchedPage): Promise<CDPSession> {
  return opened.page.context().newCDPSession(opened.page);
}

async function readHeapBytes(session: CDPSession): Promise<number> {
  await session.send("HeapProfiler.collectGarbage");
  const usage = await session.send("Runtime.getHeapUsage");
  // Numbers lie in buffers of their own, beside the objects.
  const { backingStorageSize = 0 } = usage as { backingStorageSize?: number };
  return usage.usedSize + backingStorageSize;
}

/** User and system time of a process so far (proc(5)), in seconds; Linux alone has it there. */
async function readProcessorSecs(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, "utf8")).split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
