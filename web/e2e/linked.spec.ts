import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { launchBrowser, openPage } from "./browser.ts";
import { readState, waitForFullPicture, waitForRecording, waitForState } from "./drive.ts";

/** As a notebook or any other program makes one; the page is then opened on it. */
const REQUEST = {
  model_id: "sorter",
  prompt: "CBABBC",
  max_new_tokens: 6,
  sampling: { temperature: 0, seed: 11, logit_bias: { 0: 0.5 } },
  interventions: [{ address: "z.1", operation: "scale", value: 0.5, index: { head: [0] } }],
};

let browser: Browser;
let traceId: string;

beforeAll(async () => {
  browser = await launchBrowser();
  const body = JSON.stringify(REQUEST);
  const headers = { "Content-Type": "application/json" };
  const made = await fetch(`${inject("serverUrl")}/api/traces`, { method: "POST", body, headers });
  traceId = ((await made.json()) as { id: string }).id;
});

afterAll(() => browser.close());

test("a link to a recording opens it with its model, and makes none", async () => {
  // By its own requests: other tests make recordings on the same server at the same time.
  let made = 0;
  const opened = await openPage(browser, inject("serverUrl"), {
    path: `/llm/?trace=${traceId}`,
    onRequest: (url, method) => {
      if (method === "POST" && new URL(url).pathname === "/api/traces") made += 1;
    },
  });
  await waitForFullPicture(opened.page);
  const shown = await readState(opened.page, (state) => ({
    id: state.trace?.id,
    changes: state.trace?.interventions?.length,
    model: state.anatomy?.model_id,
    prompt: state.prompt,
    temperature: state.sampling.temperature,
    seeds: [state.sampling.seed, state.drawnSeed],
    unseen: state.sampling.logit_bias,
    steps: Object.keys(state.steps).length,
    candidates: state.distribution.value?.candidates.length ?? 0,
  }));
  expect(shown).toMatchObject({ id: traceId, changes: 1, model: "sorter", prompt: "CBABBC" });
  expect(shown).toMatchObject({ temperature: 0, seeds: [null, 11], unseen: undefined });
  expect(shown.steps).toBeGreaterThan(0);
  expect(shown.candidates).toBeGreaterThan(2);
  expect(made).toBe(0);

  await opened.page.waitForURL((url) => url.search === `?trace=${traceId}`);
  await opened.page.reload();
  await waitForRecording(opened.page);
  expect(await readState(opened.page, (state) => state.trace?.id)).toBe(traceId);
  expect(opened.complaints).toEqual([]);

  // Running something of one's own leaves the other's recording alone.
  await opened.page.getByTestId("run").click();
  await opened.page.waitForFunction((id) => window.glassformer.store.getState().trace?.id !== id, traceId);
  await waitForRecording(opened.page);
  expect(made).toBe(1);
  await opened.page.waitForURL((url) => !url.search.includes(traceId));
  expect((await fetch(`${inject("serverUrl")}/api/traces/${traceId}`)).status).toBe(200);
  await opened.close();
});

interface Made {
  id: string;
  tokens: { id: number }[];
}

async function record(request: object): Promise<Made> {
  const body = JSON.stringify({ model_id: "tales", ...request });
  const headers = { "Content-Type": "application/json" };
  const made = await fetch(`${inject("serverUrl")}/api/traces`, { method: "POST", body, headers });
  return (await made.json()) as Made;
}

test("the prompt of a recording is its own text, and Run runs its own tokens", async () => {
  const spelt = await record({ prompt: "漢字 🙂 Mia" });
  const whole = spelt.tokens.map((token) => token.id);
  // Ids that no text has: they end inside a character.
  const cut = await record({ token_ids: whole.slice(0, whole.length - 2).concat(whole.slice(1, 3)) });
  const given = [
    { made: spelt, text: "漢字 🙂 Mia" },
    { made: cut, text: null },
  ];
  for (const { made, text } of given) {
    const opened = await openPage(browser, inject("serverUrl"), { path: `/llm/?trace=${made.id}` });
    const { page } = opened;
    await waitForRecording(page);
    const ids = made.tokens.map((token) => token.id);
    if (text !== null) expect(await page.getByTestId("prompt").inputValue()).toBe(text);
    await waitForState(page, (state) => state.liveTokens.status === "ready");
    expect(await page.getByTestId("tokens").getByRole("listitem").count()).toBe(ids.length);
    for (const _ of ["once", "and again"]) {
      const before = await readState(page, (state) => state.trace?.id ?? "");
      await page.getByTestId("run").click();
      await page.waitForFunction((id) => window.glassformer.store.getState().trace?.id !== id, before);
      await waitForRecording(page);
      expect(await readState(page, (state) => state.trace?.tokens.map((token) => token.id))).toEqual(ids);
    }
    expect(opened.complaints).toEqual([]);
    await opened.close();
  }
});

test("a link to a recording that is gone still opens the page", async () => {
  const opened = await openPage(browser, inject("serverUrl"), { path: "/llm/?trace=0123456789abcdef" });
  await waitForRecording(opened.page);
  expect(await readState(opened.page, (state) => state.anatomy?.model_id)).toBe("tales");
  await waitForState(opened.page, (state) => state.runError?.includes("no recording") ?? false);
  expect(opened.complaints).toEqual([expect.stringMatching(/^404: .*0123456789abcdef$/)]);
  await opened.close();
});
