/**
 * Measurements in a real browser for bench/: run with Node itself, prints one JSON object.
 *
 *   node e2e/measure.ts page      what the page costs: of each bundled model, and of a real one (see measurePage.ts)
 *   node e2e/measure.ts startup   from `make run` to the first full picture
 *   node e2e/measure.ts watched   how long WATCHED_TOKENS tokens take that the page at WATCHED_URL generates and draws
 */
import { spawn } from "node:child_process";
import type { Browser } from "playwright-core";
import { launchBrowser, openPage } from "./browser.ts";
import { readState, waitForFullPicture, waitForState } from "./drive.ts";
import { measurePage } from "./measurePage.ts";
import { findFreePort, repository, stopProcess, waitUntilAnswered } from "./server.ts";

const WATCHED_TIMEOUT_MS = 600_000;

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
