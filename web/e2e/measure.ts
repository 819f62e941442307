/**
 * Measurements in a real browser for bench/: run with Node itself, prints one JSON object.
 *
 *   node e2e/measure.ts page      what the picture of each bundled model costs
 *   node e2e/measure.ts startup   from `make run` to the first full picture
 *   node e2e/measure.ts watched   how long WATCHED_TOKENS tokens take that the page at WATCHED_URL generates and draws
 */
import { spawn } from "node:child_process";
import type { Browser, Page } from "playwright-core";
import { launchBrowser, openPage } from "./browser.ts";
import { readState, readStats, waitForFullPicture, waitForState } from "./drive.ts";
import { findFreePort, repository, startServer, stopProcess, waitUntilAnswered } from "./server.ts";

const IDLE_SECS = 5;
const ORBIT_FRAMES = 30;
const WATCHED_TIMEOUT_MS = 600_000;

async function measurePage(browser: Browser): Promise<Record<string, unknown>> {
  const server = await startServer();
  try {
    const models: Record<string, unknown> = {};
    for (const model of ["tales", "sorter"]) models[model] = await measureModel(browser, server.url, model);
    return { readyMs: server.readyMs, models };
  } finally {
    await server.stop();
  }
}

async function measureModel(browser: Browser, url: string, model: string): Promise<Record<string, unknown>> {
  // Once to warm the server: what is measured is the page.
  const warming = await openPage(browser, url, { path: `/llm/?model=${model}`, reducedMotion: true });
  await waitForFullPicture(warming.page);
  await warming.close();

  const opened = await openPage(browser, url, { path: `/llm/?model=${model}`, reducedMotion: true });
  const { lastFrameMs } = await waitForFullPicture(opened.page);
  const transferred = opened.transferredBytes();
  const before = await readStats(opened.page);
  await opened.page.waitForTimeout(IDLE_SECS * 1_000);
  const after = await readStats(opened.page);
  const frameMs = await measureOrbit(opened.page);
  await opened.close();
  return {
    fullPictureMs: lastFrameMs,
    assetBytes: transferred.assets,
    dataBytes: transferred.data,
    drawCalls: before.drawCalls,
    triangles: before.triangles,
    textureBytes: before.textureBytes,
    idleFrames: after.frames - before.frames,
    idleSecs: IDLE_SECS,
    frameMs,
  };
}

/** Drags the scene round and times the frames it draws meanwhile. */
async function measureOrbit(page: Page): Promise<number> {
  const box = await page.locator("canvas").first().boundingBox();
  if (!box) throw new Error("no canvas");
  const [x, y] = [box.x + box.width * 0.5, box.y + box.height * 0.5];
  await page.mouse.move(x, y);
  await page.mouse.down();
  const before = await readStats(page);
  const startedAt = performance.now();
  for (let step = 0; (await readStats(page)).frames - before.frames < ORBIT_FRAMES && step < 400; step += 1) {
    await page.mouse.move(x + 80 * Math.sin(step / 10), y);
  }
  const elapsedMs = performance.now() - startedAt;
  await page.mouse.up();
  return elapsedMs / Math.max(1, (await readStats(page)).frames - before.frames);
}

async function measureStartup(browser: Browser): Promise<Record<string, unknown>> {
  const port = await findFreePort();
  const url = `http://127.0.0.1:${port}`;
  const startedAt = performance.now();
  const child = spawn("make", ["run", `ARGS=--port ${port}`], {
    cwd: repository,
    stdio: "ignore",
    detached: true,
  });
  try {
    // The page is opened as soon as the address answers, as a browser that is waiting for it would.
    await waitUntilAnswered(`${url}/health`, child);
    const answeringMs = performance.now() - startedAt;
    const opened = await openPage(browser, url, { reducedMotion: true });
    const openedMs = performance.now() - startedAt;
    const { lastFrameMs } = await waitForFullPicture(opened.page);
    const navigationMs = await opened.page.evaluate(
      () => performance.getEntriesByType("navigation")[0]?.duration ?? performance.now(),
    );
    await opened.close();
    return { answeringMs, fullPictureMs: openedMs - navigationMs + lastFrameMs };
  } finally {
    await stopProcess(child);
  }
}

async function measureWatched(browser: Browser): Promise<Record<string, unknown>> {
  const { WATCHED_URL: url = "", WATCHED_MODEL: model = "", WATCHED_TOKENS: tokens = "24" } = process.env;
  const path = `/llm/?model=${encodeURIComponent(model)}&prompt=word7+word8+word9&tokens=${tokens}&temperature=0`;
  const opened = await openPage(browser, url, { path });
  await waitForFullPicture(opened.page);
  const startedAt = performance.now();
  await opened.page.getByTestId("generate").click();
  await waitForState(opened.page, (state) => state.activity === "generating");
  // Beside this browser a server whose threads are fixed takes minutes.
  await opened.page.waitForFunction(
    () => window.glassformer.store.getState().activity === "idle",
    undefined,
    { timeout: WATCHED_TIMEOUT_MS, polling: 100 },
  );
  const generatingMs = performance.now() - startedAt;
  const count = await readState(opened.page, (state) =>
    state.trace ? state.trace.tokens.length - state.trace.prompt_count : 0,
  );
  await opened.close();
  return { generatingMs, tokens: count };
}

const measurements = { page: measurePage, startup: measureStartup, watched: measureWatched };
const measure = measurements[process.argv[2] as keyof typeof measurements];
if (!measure) throw new Error("usage: node e2e/measure.ts page | startup | watched");
const browser = await launchBrowser();
try {
  console.log(JSON.stringify(await measure(browser)));
} finally {
  await browser.close();
}
