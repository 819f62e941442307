import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { readState, runPrompt, waitForFullPicture, waitForRecording, waitForState } from "./drive.ts";
import { sharePage } from "./sharePage.ts";

const opened = sharePage({ path: "/llm/?model=sorter&prompt=CBA", reducedMotion: true });

/** The address follows the state after a short wait. */
async function waitForAddress(page: Page, part: string): Promise<void> {
  await page.waitForFunction((part) => window.location.search.includes(part), part);
}

test("going back leads through what was looked at, and going forth again", async () => {
  const { page } = opened();
  await waitForAddress(page, "prompt=CBA");
  const entries = await page.evaluate(() => window.history.length);

  await runPrompt(page, "ABCABC");
  // The address has the prompt as soon as it is typed; the recording is an entry of its own.
  await page.waitForFunction((count) => window.history.length === count, entries + 1);
  await select(page, "resid_post.1", [2, 3]);
  await waitForAddress(page, "cell=resid_post.1:2,3");
  // Another cell of the same matrix is no new view.
  await select(page, "resid_post.1", [4, 4]);
  await waitForAddress(page, "cell=resid_post.1:4,4");
  await select(page, "z.0", [1, 2, 0]);
  await waitForAddress(page, "cell=z.0");
  expect(await page.evaluate(() => window.history.length)).toBe(entries + 3);
  // What is typed and not sent belongs to the next recording, not to this one.
  await page.getByTestId("prompt").fill("CC");
  await waitForAddress(page, "prompt=CC");

  await page.goBack();
  await waitForState(page, (state) => state.selection?.address === "resid_post.1");
  expect(await readState(page, (state) => state.selection?.index)).toEqual([4, 4]);
  await page.goBack();
  await waitForState(page, (state) => state.selection === null);
  expect(await readState(page, (state) => state.tracePrompt)).toBe("ABCABC");
  await page.goBack();
  await waitForState(page, (state) => state.tracePrompt === "CBA");
  await waitForRecording(page);
  expect(await page.getByTestId("prompt").inputValue()).toBe("CBA");

  await page.goForward();
  await waitForState(page, (state) => state.tracePrompt === "ABCABC");
  await waitForRecording(page);
  expect(await page.evaluate(() => window.history.length)).toBe(entries + 3);
});

test("going back to another model opens it with its text, as it was drawn", async () => {
  const { page } = opened();
  await page.getByTestId("max-new-tokens").fill("6");
  await page.getByTestId("generate").click();
  await waitForState(page, (state) => state.activity === "idle" && state.drawnSeed !== null);
  await waitForAddress(page, "drawn=");
  const drawn = await readState(page, (state) => state.trace?.tokens.map((token) => token.id));

  await page.getByTestId("model-picker").click();
  await page.getByTestId("model-option").and(page.locator("[data-model-id=tales]")).click();
  await waitForState(page, (state) => state.anatomy?.model_id === "tales" && state.trace !== null);
  await waitForFullPicture(page);
  await waitForAddress(page, "model=tales");

  await page.goBack();
  await waitForState(
    page,
    (state) =>
      state.anatomy?.model_id === "sorter" && state.trace?.status === "done" && state.drawnSeed !== null,
  );
  await waitForState(page, (state) => state.activity === "idle");
  expect(await readState(page, (state) => state.trace?.tokens.map((token) => token.id))).toEqual(drawn);
});

async function select(page: Page, address: string, index: number[]): Promise<void> {
  await page.evaluate((selection) => window.glassformer.store.setState({ selection }), { address, index });
}
