import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { launchBrowser, openPage } from "./browser.ts";
import { readCanvasPixels, readState, waitForFullPicture, waitForState } from "./drive.ts";
import { Monkey } from "./monkey.ts";

/** `make monkey` asks for more: 1,000 steps of each model, from seeds of its own. */
const STEPS = Number(process.env.MONKEY_STEPS || 150);
const SEEDS = (process.env.MONKEY_SEEDS || "1").split(",").map(Number);
const MODELS = process.env.MONKEY_STEPS ? ["tales", "sorter"] : ["tales"];
/** What each of them can read. */
const PROMPTS: Record<string, string> = { tales: "Mia has a cup.", sorter: "CBABBC" };
const LOOK_EVERY = 10;
const LAST_TOLD = 25;
const MOST_FAULTS = 5;
/** What somebody writes into the page may be refused, in a sentence that names it. */
const OWN_FIELDS = /^(prompt|messages|token_ids|max_new_tokens|sampling(\..+)?)$/;

let browser: Browser;
beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser.close());

const cases = MODELS.flatMap((model) => SEEDS.map((seed) => ({ model, seed })));

test.each(cases)(
  "whatever is pressed on $model, nothing fails and the page works on (seed $seed)",
  async ({ model, seed }) => {
    const path = `/llm/?model=${model}`;
    const opened = await openPage(browser, inject("serverUrl"), { path, width: 1000, height: 650 });
    const { page, complaints } = opened;
    page.context().on("page", (other) => void other.close());
    await waitForState(page, (state) => state.trace !== null);
    const readRefusals = watchRefusals(page);
    const monkey = new Monkey(page, seed);
    const told = () => monkey.done.slice(-LAST_TOLD).join("\n");
    // All that is found is told, each with what led to it: a long run would else tell one fault an hour.
    const faults: string[] = [];
    const note = (wrongs: string[]) => faults.push(...wrongs.map((wrong) => `${wrong}\nafter\n${told()}\n`));
    for (let step = 0; step < STEPS && faults.length < MOST_FAULTS; step += 1) {
      await monkey.step();
      if (step % LOOK_EVERY === 0) note(await findWrongs(page));
      const refused = await readRefusals();
      note(complaints.splice(0).filter((complaint) => !refused.has(complaint)));
    }
    expect(faults).toEqual([]);
    await expectWorks(page, model, told).catch(async (error: Error) => {
      throw new Error(`${error.message}\n${await page.locator("body").innerText()}\nafter\n${told()}`);
    });
    expect(complaints, told()).toEqual([]);
    await opened.close();
  },
  60_000 + STEPS * 1_500,
);

/** The refusals, in the words of a complaint, of what somebody wrote; all whose reason has come by then. */
function watchRefusals(page: Page): () => Promise<Set<string>> {
  const refused = new Set<string>();
  const reading = new Set<Promise<void>>();
  page.on("response", (response) => {
    if (response.status() !== 422 || response.request().method() !== "POST") return;
    const read = response.json().then(
      ({ field }: { field?: string }) => {
        if (OWN_FIELDS.test(field ?? "")) refused.add(`422: ${response.url()}`);
      },
      () => {},
    );
    reading.add(read);
    void read.finally(() => reading.delete(read));
  });
  return async () => {
    await Promise.all(reading);
    return refused;
  };
}

/** What no state of the page may have, whatever led to it. */
function findWrongs(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const state = window.glassformer.store.getState();
    const wrongs: string[] = [];
    const { trace, position, activity, connection, sceneState } = state;
    if (!document.querySelector("#stage canvas")) wrongs.push("no canvas");
    if (!document.querySelector("header, [data-testid=model-picker]")) wrongs.push("no panels");
    if (document.querySelector("[data-testid=part-failure]")) wrongs.push("a part failed");
    if (connection === "lost") wrongs.push("connection lost");
    if (sceneState === "absent" || sceneState === "lost") wrongs.push(`scene ${sceneState}`);
    // While a text is written, its end may be awaited.
    if (activity === "idle" && position !== null && (position < 0 || position >= (trace?.positions ?? 0)))
      wrongs.push(`position ${position} of ${trace?.positions}, ${activity}`);
    if (state.damage) wrongs.push(state.damage);
    if (state.forgotten) wrongs.push("forgotten");
    if (document.documentElement.scrollWidth > innerWidth) wrongs.push("the page is wider than the window");
    if (scrollY !== 0 || scrollX !== 0) wrongs.push("the page is scrolled");
    return wrongs;
  });
}

/** The model is opened and a prompt run by hand, as they would be on a new page, and the picture stands. */
async function expectWorks(page: Page, model: string, told: () => string): Promise<void> {
  await page.setViewportSize({ width: 1000, height: 650 });
  // Whatever is open is closed, one thing after the other; what is written is stopped.
  for (let time = 0; time < 8; time += 1) await page.keyboard.press("Escape");
  await page.keyboard.press("Control+.");
  await waitForState(page, (state) => state.activity === "idle" && state.opening === null);
  await page.getByTestId("model-picker").click();
  await page.getByTestId("model-input").fill(model);
  await page.getByTestId("model-input").press("Enter");
  await waitForState(page, (state) => state.opening === null && state.shapes.length === 0);
  await page.keyboard.press("w");
  const before = await readState(page, (state) => state.trace?.id ?? "");
  await page.getByTestId("prompt").fill(PROMPTS[model] ?? "");
  await page.getByTestId("run").click();
  await page.waitForFunction((id) => window.glassformer.store.getState().trace?.id !== id, before);
  await page.evaluate(() => window.glassformer.scene.fit());
  await waitForFullPicture(page);
  const last = await readState(page, (state) => [
    state.anatomy?.model_id,
    state.runError,
    state.trace?.status,
  ]);
  expect(last, told()).toEqual([model, null, "done"]);
  expect(await findWrongs(page), told()).toEqual([]);
  expect((await readCanvasPixels(page)).distinctColors, told()).toBeGreaterThan(300);
}
