import type { Browser } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test } from "vitest";
import type { TraceState } from "../src/protocol/schema.generated";
import { launchBrowser, openPage, type WatchedPage } from "./browser.ts";
import { readState, readStats, typePrompt, waitForFullPicture, waitForState } from "./drive.ts";

let browser: Browser;
let opened: WatchedPage;
beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser.close());
beforeEach(async () => {
  // Hot sampling and many tokens: a run that does not end by itself before it is watched.
  const query = "?model=tales&prompt=Mia+has+a+ball.&tokens=150&temperature=3&top_p=1&seed=1";
  opened = await openPage(browser, inject("serverUrl"), { path: `/llm/${query}`, reducedMotion: true });
  await waitForFullPicture(opened.page);
});
afterEach(async () => {
  await opened.close();
  expect(opened.complaints).toEqual([]);
});

test("Generate streams tokens into the page and the scene, and Stop stops within a step", async () => {
  const { page } = opened;
  const framesBefore = (await readStats(page)).frames;
  await page.getByTestId("generate").click();
  await waitForState(page, (state) => state.activity === "generating");

  const counts = new Set<number>();
  while (counts.size < 4) {
    counts.add(await readState(page, (state) => state.trace?.tokens.length ?? 0));
    expect(await readState(page, (state) => state.activity)).toBe("generating");
  }
  expect([...counts]).toEqual([...counts].sort((a, b) => a - b));

  const stopped = page.waitForResponse((response) => response.url().endsWith("/stop"));
  await page.getByTestId("stop").click();
  const atStop = (await (await stopped).json()) as TraceState;
  await waitForState(page, (state) => state.activity === "idle");

  const end = (await (await fetch(`${inject("serverUrl")}/api/traces/${atStop.id}`)).json()) as TraceState;
  expect(end.status).toBe("stopped");
  expect(end.finish_reason).toBe("cancelled");
  expect(end.tokens.length - atStop.tokens.length).toBeLessThanOrEqual(1);
  expect(end.tokens.length).toBeLessThan(150);

  await waitForFullPicture(page);
  const shown = await readState(page, (state) => ({
    tokens: state.trace?.tokens.length,
    positions: state.trace?.positions,
  }));
  expect(shown).toEqual({ tokens: end.tokens.length, positions: end.positions });
  expect((await readStats(page)).frames).toBeGreaterThan(framesBefore);
});

test("after a stop the page runs the next prompt", async () => {
  const { page } = opened;
  await page.getByTestId("generate").click();
  await waitForState(page, (state) => state.activity === "generating");
  await page.getByTestId("stop").click();
  await waitForState(page, (state) => state.activity === "idle");
  await typePrompt(page, "Tom has a cup.");
  await page.getByTestId("run").click();
  await waitForState(page, (state) => state.activity === "idle" && state.tracePrompt === "Tom has a cup.");
  expect(await readState(page, (state) => state.runError)).toBeNull();
});
