import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { launchBrowser, openPage } from "./browser.ts";
import { readState, waitForFullPicture, waitForRecording, waitForState } from "./drive.ts";
import { type RunningServer, startServer } from "./server.ts";

/** Servers are started and stopped here, which takes its time on a busy machine. */
vi.setConfig({ testTimeout: 300_000 });

let browser: Browser;
/** Each test leaves it running, with its recordings. */
let server: RunningServer;

beforeAll(async () => {
  [browser, server] = await Promise.all([launchBrowser(), startServer()]);
});
afterAll(async () => {
  await browser.close();
  await server.stop();
});
// Where a test ended in between.
beforeEach(async () => {
  if (!(await fetch(`${server.url}/health`).catch(() => null))) await restart();
});
// A page that is left open goes on drawing and asking.
afterEach(() => Promise.all(browser.contexts().map((context) => context.close())));

const restart = async () => {
  server = await startServer([], {}, server.port);
};

test("with the server gone a click leaves every panel standing, and what it asked for comes with the server", async () => {
  const { page, complaints } = await openPage(browser, server.url, { reducedMotion: true });
  await waitForFullPicture(page);
  await server.stop();

  await page.evaluate(() =>
    window.glassformer.store.setState({ selection: { address: "resid_post.1", index: [3, 5] } }),
  );
  await page.getByTestId("part-failure").waitFor();
  await page.getByTestId("guide-toggle").click();
  await page.waitForFunction(() => document.querySelectorAll("[data-testid=part-failure]").length === 2);
  for (const standing of ["prompt", "run", "tokens", "timeline", "inspector", "distribution"])
    expect(await page.getByTestId(standing).isVisible(), standing).toBe(true);

  // By hand while it is still gone: the same sentence again, and nothing worse.
  await page.getByTestId("inspector").getByRole("button", { name: "Try again" }).click();
  await page.getByTestId("inspector").getByTestId("part-failure").waitFor();

  await restart();
  await page.getByTestId("guide").getByText("Text becomes numbers").waitFor({ timeout: 60_000 });
  await page.getByTestId("inspector-value").getByText(/\d/).waitFor();
  // Styles came along.
  const value = page.getByTestId("inspector-value");
  expect(await value.evaluate((element) => getComputedStyle(element).fontSize)).toBe("24px");
  expect(await page.getByTestId("part-failure").count()).toBe(0);
  expect(complaints.filter((each) => each.startsWith("uncaught"))).toEqual([]);
});

test("what was asked for while the network was away comes when it is back", async () => {
  const { page } = await openPage(browser, server.url, { reducedMotion: true });
  await waitForFullPicture(page);
  const select = (address: string, index: number[]) =>
    page.evaluate((selection) => window.glassformer.store.setState({ selection }), { address, index });
  await select("resid_post.1", [3, 5]);
  await waitForState(page, (state) => state.explanation.status === "ready");
  const before = await readState(page, (state) => state.trace?.id);

  await page.context().setOffline(true);
  await select("attn_scores.1", [1, 8, 2]);
  await page.evaluate(() => window.glassformer.store.setState({ position: 4 }));
  await page.getByTestId("prompt").fill("Tom has a cup.");
  for (const part of ["explanation", "distribution", "liveTokens"] as const) {
    await page.waitForFunction((part) => window.glassformer.store.getState()[part].status === "failed", part);
  }
  await page.context().setOffline(false);
  for (const part of ["inspected", "explanation", "distribution", "liveTokens"] as const) {
    await page.waitForFunction((part) => window.glassformer.store.getState()[part].status === "ready", part);
  }
  expect(await readState(page, (state) => [state.connection, state.trace?.id])).toEqual(["online", before]);
});

test("a server started anew while a text is written: the text, its seed and its settings are kept", async () => {
  const query = "?model=tales&prompt=Mia+has+a+ball.&tokens=200&temperature=3&top_p=1&seed=8";
  const { page } = await openPage(browser, server.url, { path: `/llm/${query}`, reducedMotion: true });
  await waitForFullPicture(page);
  await page.getByTestId("generate").click();
  await waitForState(page, (state) => (state.trace?.tokens.length ?? 0) > 40);
  await server.stop();
  // Steps that had arrived by then are shown before the page notices.
  await waitForState(page, (state) => state.activity !== "generating" || state.connection === "lost");
  const written = await readWritten(page);
  // A wish for the next text is not one for this.
  await page.getByTestId("prompt").fill("Something else entirely.");
  await page.evaluate(() =>
    window.glassformer.store.setState(({ sampling }) => ({ sampling: { ...sampling, temperature: 0 } })),
  );

  await restart();
  const notice = page.getByTestId("forgotten");
  await notice.waitFor({ timeout: 60_000 });
  expect(await notice.innerText()).toMatch(/started anew.*seed \(8\)/);
  expect(await readWritten(page)).toEqual(written);
  expect(await readState(page, (state) => [state.activity, state.drawnSeed, state.tracePrompt])).toEqual([
    "idle",
    8,
    "Mia has a ball.",
  ]);

  await page.getByTestId("run-again").click();
  await waitForState(page, (state) => state.activity === "idle" && state.trace?.status === "done");
  expect((await readWritten(page)).slice(0, written.length)).toEqual(written);
  expect((await readWritten(page)).length).toBeGreaterThan(200);
  expect(await notice.count()).toBe(0);
  expect(await page.getByTestId("prompt").inputValue()).toBe("Something else entirely.");
});

test("a server started anew beside a page with a prompt alone: the prompt is read again by itself", async () => {
  const { page } = await openPage(browser, server.url, { reducedMotion: true });
  await waitForFullPicture(page);
  const before = await readState(page, (state) => state.trace?.id ?? "");
  await server.stop();
  await page.getByTestId("prompt").fill("Not sent yet.");
  await waitForState(page, (state) => state.connection === "lost");
  await restart();
  await page.waitForFunction((id) => window.glassformer.store.getState().trace?.id !== id, before, {
    timeout: 60_000,
  });
  await waitForRecording(page);
  expect(await page.getByTestId("forgotten").count()).toBe(0);
  expect(await page.getByTestId("prompt").inputValue()).toBe("Not sent yet.");
});

test("a server started anew beside a text whose tokens no text has: they are what is run again", async () => {
  const headers = { "Content-Type": "application/json" };
  const record = async (request: object) => {
    const body = JSON.stringify({ model_id: "tales", ...request });
    const made = await fetch(`${server.url}/api/traces`, { method: "POST", body, headers });
    return (await made.json()) as { id: string; tokens: { id: number }[] };
  };
  const whole = (await record({ prompt: "漢字 🙂 Mia" })).tokens.map((token) => token.id);
  // They end inside a character.
  const ids = whole.slice(0, whole.length - 2).concat(whole.slice(1, 3));
  const linked = await record({ token_ids: ids });
  const { page } = await openPage(browser, server.url, {
    path: `/llm/?trace=${linked.id}`,
    reducedMotion: true,
  });
  await waitForRecording(page);
  const text = await readState(page, (state) => state.tracePrompt);
  // Run by the page itself, so that it is the page's own.
  await page.getByTestId("run").click();
  await page.waitForFunction((id) => window.glassformer.store.getState().trace?.id !== id, linked.id);
  await waitForRecording(page);
  expect(await readWritten(page)).toEqual(ids);
  const before = await readState(page, (state) => state.trace?.id ?? "");
  await server.stop();
  // A page that has all it shows asks nothing by itself.
  await page.getByTestId("timeline").locator("[data-position]").first().click();
  await waitForState(page, (state) => state.connection === "lost");
  await restart();
  await page.waitForFunction((id) => window.glassformer.store.getState().trace?.id !== id, before, {
    timeout: 60_000,
  });
  await waitForRecording(page);
  expect(await readWritten(page)).toEqual(ids);
  expect(await readState(page, (state) => state.tracePrompt)).toBe(text);
});

function readWritten(page: Page): Promise<number[]> {
  return readState(page, (state) => state.trace?.tokens.map((token) => token.id) ?? []);
}
