import type { Browser } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test } from "vitest";
import { launchBrowser, openPage, type WatchedPage } from "./browser.ts";
import { readState, runPrompt, waitForFullPicture, waitForState } from "./drive.ts";

let browser: Browser;
let opened: WatchedPage;
beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser.close());
beforeEach(async () => {
  opened = await openPage(browser, inject("serverUrl"), { reducedMotion: true });
  await waitForFullPicture(opened.page);
});
afterEach(() => opened.close());

test("the picker opens the other bundled model", async () => {
  const { page } = opened;
  await pickModel("sorter");
  await waitForState(page, (state) => state.anatomy?.model_id === "sorter" && state.opening === null);
  await waitForFullPicture(page);
  expect(await readState(page, (state) => state.trace?.model_id)).toBe("sorter");
  expect(opened.complaints).toEqual([]);
});

test("an unknown model gets one clear sentence, and the page lives on", async () => {
  const { page } = opened;
  await pickModel("nobody/nothing-of-that-name");
  await waitForState(page, (state) => state.modelFailure !== null);
  const sentence = await readState(page, (state) => state.modelFailure?.message ?? "");
  expect(await page.locator("body").innerText()).toContain(sentence);
  expect(sentence).not.toMatch(/Traceback|\/home|\/usr|http/);
  await runPrompt(page, "Mia has a cup.");
});

test("an empty prompt cannot be run, and the button says why", async () => {
  const { page } = opened;
  await page.getByTestId("prompt").fill("");
  const run = page.getByTestId("run");
  expect((await run.isDisabled()) || (await run.getAttribute("aria-disabled")) === "true").toBe(true);
});

test("a prompt past the context is refused in words", async () => {
  const { page } = opened;
  const context = await readState(page, (state) => state.anatomy?.dimensions.context ?? 0);
  await page.getByTestId("prompt").fill("Tom ".repeat(context + 10));
  await waitForState(
    page,
    (state) => state.liveTokens.status === "ready" && state.liveTokens.prompt === state.prompt,
  );
  const run = page.getByTestId("run");
  expect((await run.isDisabled()) || (await run.getAttribute("aria-disabled")) === "true").toBe(true);
});

async function pickModel(modelId: string): Promise<void> {
  await opened.page.getByTestId("model-picker").click();
  await opened.page.getByTestId("model-input").fill(modelId);
  await opened.page.keyboard.press("Enter");
}
