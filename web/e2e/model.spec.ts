import { expect, test } from "vitest";
import { readState, runPrompt, waitForFullPicture, waitForState } from "./drive.ts";
import { sharePage } from "./sharePage.ts";

const opened = sharePage({ reducedMotion: true });

test("the picker opens the other bundled model", async () => {
  const { page } = opened();
  await pickModel("sorter");
  await waitForState(page, (state) => state.anatomy?.model_id === "sorter" && state.opening === null);
  await waitForFullPicture(page);
  expect(await readState(page, (state) => state.trace?.model_id)).toBe("sorter");
});

test("an unknown model gets one clear sentence, and the page lives on", async () => {
  const { page, complaints } = opened();
  await pickModel("nobody/nothing-of-that-name");
  await waitForState(page, (state) => state.modelFailure !== null);
  const sentence = await readState(page, (state) => state.modelFailure?.message ?? "");
  expect(await page.locator("body").innerText()).toContain(sentence);
  expect(sentence).not.toMatch(/Traceback|\/home|\/usr|http/);
  // The refusal itself is what was asked for.
  expect(complaints.splice(0).every((each) => each.includes("nothing-of-that-name"))).toBe(true);
  await runPrompt(page, "CABABC");
});

async function pickModel(modelId: string): Promise<void> {
  const { page } = opened();
  await page.getByTestId("model-picker").click();
  await page.getByTestId("model-input").fill(modelId);
  await page.keyboard.press("Enter");
}
