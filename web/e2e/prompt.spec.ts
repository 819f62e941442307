import { expect, test } from "vitest";
import { readState, runPrompt, typePrompt, waitForFullPicture, waitForState } from "./drive.ts";
import { askTransformers } from "./reference.ts";
import { sharePage } from "./sharePage.ts";

const PROMPT = "Mia has a red ball. Mia gives the ball to Tom.";

const truth = askTransformers({ model: "tales", prompt: PROMPT, newTokens: 1 });
const opened = sharePage({ reducedMotion: true });

test("typing shows the tokens as the model's own tokenizer makes them", async () => {
  const { page } = opened();
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

test("a beginning that the text spells itself is not run twice, and the page says so", async () => {
  const { page } = opened();
  await typePrompt(page, `<|bos|>${PROMPT}`);
  await waitForState(
    page,
    (state) => state.liveTokens.status === "ready" && state.liveTokens.prompt === state.prompt,
  );
  expect(await page.getByTestId("left-off").isVisible()).toBe(true);
  expect(await page.locator("[data-left-off]").count()).toBe(1);
  expect(await page.getByTestId("token-count").innerText()).toBe(`${truth.token_ids.length} tokens`);
  await runPrompt(page, `<|bos|>${PROMPT}`);
  expect(await readState(page, (state) => state.trace?.tokens.map((token) => token.id))).toEqual(
    truth.token_ids,
  );
  await typePrompt(page, PROMPT);
  await page.getByTestId("left-off").waitFor({ state: "detached" });
});

test("Run sends the prompt through the model", async () => {
  const { page } = opened();
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

test("the address of the page brings the same state back", async () => {
  const { page } = opened();
  await page.waitForFunction(
    (prompt) => new URLSearchParams(location.search).get("prompt") === prompt,
    PROMPT,
  );
  await page.reload();
  await waitForFullPicture(page);
  expect(await page.getByTestId("prompt").inputValue()).toBe(PROMPT);
  expect(await readState(page, (state) => state.tracePrompt)).toBe(PROMPT);
});

test("an empty prompt cannot be run, and the button says why", async () => {
  const { page } = opened();
  await page.getByTestId("prompt").fill("");
  expect(await isRunOff()).toBe(true);
  expect(await page.getByTestId("run").getAttribute("title")).not.toBe("");
});

test("a prompt past the context cannot be run", async () => {
  const { page } = opened();
  const context = await readState(page, (state) => state.anatomy?.dimensions.context ?? 0);
  await page.getByTestId("prompt").fill("Tom ".repeat(context + 10));
  await waitForState(
    page,
    (state) => state.liveTokens.status === "ready" && state.liveTokens.prompt === state.prompt,
  );
  expect(await isRunOff()).toBe(true);
});

async function isRunOff(): Promise<boolean> {
  const run = opened().page.getByTestId("run");
  return (await run.isDisabled()) || (await run.getAttribute("aria-disabled")) === "true";
}
