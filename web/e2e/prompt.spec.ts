import type { Browser } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test } from "vitest";
import { launchBrowser, openPage, type WatchedPage } from "./browser.ts";
import { readState, runPrompt, typePrompt, waitForFullPicture, waitForState } from "./drive.ts";
import { askTransformers } from "./reference.ts";

const PROMPT = "Mia has a red ball. Mia gives the ball to Tom.";

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
afterEach(async () => {
  await opened.close();
  expect(opened.complaints).toEqual([]);
});

test("typing shows the tokens as the model's own tokenizer makes them", async () => {
  const { page } = opened;
  const truth = askTransformers({ model: "tales", prompt: PROMPT });
  await typePrompt(page, PROMPT);
  await waitForState(
    page,
    (state) => state.liveTokens.status === "ready" && state.liveTokens.prompt === state.prompt,
  );
  const ids = await readState(page, (state) => state.liveTokens.value?.map((token) => token.id));
  expect(ids).toEqual(truth.token_ids);

  const list = page.getByTestId("tokens");
  expect(await list.getByRole("listitem").count()).toBe(truth.token_ids.length);
  for (const id of truth.token_ids.slice(0, 3)) expect(await list.innerText()).toContain(String(id));
});

test("Run sends the prompt through the model", async () => {
  const { page } = opened;
  const truth = askTransformers({ model: "tales", prompt: PROMPT, newTokens: 1 });
  await runPrompt(page, PROMPT);
  const run = await readState(page, (state) => ({
    ids: state.trace?.tokens.map((token) => token.id),
    positions: state.trace?.positions,
    status: state.trace?.status,
  }));
  expect(run).toEqual({ ids: truth.token_ids, positions: truth.token_ids.length, status: "done" });

  // The most likely next token is the one greedy decoding takes.
  await waitForState(
    page,
    (state) =>
      state.distribution.status === "ready" &&
      state.distribution.value?.pos === (state.trace?.positions ?? 0) - 1,
  );
  expect(await readState(page, (state) => state.distribution.value?.candidates[0]?.token.id)).toBe(
    truth.greedy_ids[0],
  );
});

test("pressing Enter with the modifier runs too, and a link brings the same state back", async () => {
  const { page } = opened;
  await runPrompt(page, PROMPT);
  await page.waitForFunction(() => location.search.includes("prompt="));
  await page.reload();
  await waitForFullPicture(page);
  expect(await page.getByTestId("prompt").inputValue()).toBe(PROMPT);
});
