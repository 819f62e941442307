import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { launchBrowser, type OpenOptions, openPage } from "./browser.ts";
import { readState, readStats, waitForState } from "./drive.ts";

/** What any shape may cost the graphics card. */
const BUDGET = { drawCalls: 60, triangles: 100_000, textureBytes: 64 * 2 ** 20 };

/** Software rendering pays for pixels. */
const SMALL = { width: 1000, height: 560 };
/** What could only be asked of a model that is loaded. */
const NEEDS_WEIGHTS = /^\/(api\/(traces|live|models\/.*\/(zarr|load|anatomy))|tokenize)/;

let browser: Browser;
beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser.close());

async function openShapes(query: string, options: OpenOptions = {}) {
  const requests: string[] = [];
  const opened = await openPage(browser, inject("serverUrl"), {
    reducedMotion: true,
    path: `/llm/${query}`,
    onRequest: (url) => requests.push(new URL(url).pathname),
    ...options,
  });
  await waitForState(opened.page, (state) => state.shapes.length > 0 && state.opening === null);
  await opened.page.waitForFunction(() => window.glassformer.scene.stats().labels > 0);
  return { ...opened, requests };
}

async function expectWithinBudget(page: Page): Promise<void> {
  const stats = await readStats(page);
  expect(stats.drawCalls).toBeLessThanOrEqual(BUDGET.drawCalls);
  expect(stats.triangles).toBeLessThanOrEqual(BUDGET.triangles);
  expect(stats.textureBytes).toBeLessThanOrEqual(BUDGET.textureBytes);
  expect(stats.tensors).toBe(0);
}

test("a model of 175 billion parameters is drawn within the budget, and nothing is asked for that it has not", async () => {
  const { page, complaints, requests, close } = await openShapes("?shape=gpt3-175b", SMALL);
  await expectWithinBudget(page);
  expect(await page.getByTestId("about").innerText()).toMatch(/GPT-3 is drawn from its config alone/);
  const facts = await page.getByTestId("shape-facts").innerText();
  for (const said of ["no weights", "618 M", "349.2 GB bfloat16", "4.7 MB for each token"])
    expect(facts).toContain(said);
  expect(await page.getByTestId("run").isDisabled()).toBe(true);
  expect(await page.getByTestId("run").getAttribute("title")).toMatch(/no weights/);

  // Over an MLP: what it holds. Then nearer, until matrices stand there: still nothing is fetched.
  const at = await page.evaluate(() => {
    // Where it will stand near is where its card is from afar.
    const place = window.glassformer.scene.placeOf({ address: "mlp_act.40", index: [4, 24_000] });
    return place && { x: place.x, y: place.y };
  });
  if (!at) throw new Error("the MLP of block 40 has no place");
  await page.mouse.move(at.x, at.y);
  await page.mouse.move(at.x + 1, at.y);
  await page.getByTestId("shape-hover").waitFor();
  const card = await page.getByTestId("shape-hover").innerText();
  expect(card).toMatch(/MLP\s+1.208.020.992/);
  expect(card).toMatch(/c_fc.weight 12.288 × 49.152/);
  const before = await readStats(page);
  for (let step = 0; step < 4; step++) await page.mouse.wheel(0, -600);
  await page.waitForFunction((frames) => window.glassformer.scene.stats().frames > frames, before.frames);
  await page.mouse.down();
  await page.mouse.move(at.x - 80, at.y + 60, { steps: 2 });
  await page.mouse.up();
  await page.waitForTimeout(300);
  await expectWithinBudget(page);
  expect(requests.filter((path) => NEEDS_WEIGHTS.test(path))).toEqual([]);

  // A weight in the link's place for a cell: its shape, and no value.
  await page.evaluate(() => {
    const address = "transformer.h.5.mlp.c_fc.weight";
    window.glassformer.store.setState({ selection: { address, index: [0, 0] } });
  });
  expect(await page.getByTestId("tensor-shape").innerText()).toMatch(/603.979.776 parameters/);
  expect(requests.filter((path) => NEEDS_WEIGHTS.test(path))).toEqual([]);
  expect(complaints).toEqual([]);
  await close();
});

test("three stand side by side, one of them is shown alone, and back again", async () => {
  const { page, complaints, close } = await openShapes(
    "?shape=gpt2&shape=deepseek-v3-671b&shape=llama3-405b",
  );
  await expectWithinBudget(page);
  const facts = await page.getByTestId("shape-facts").innerText();
  for (const said of ["GPT-2 · 124 M", "DeepSeek-V3 · 671 B", "Llama 3.1 405B · 406 B", "shared experts"])
    expect(facts).toContain(said);
  await page.getByRole("button", { name: "GPT-2 · 124 M" }).click();
  await waitForState(page, (state) => state.shapes.length === 1);
  await page.waitForFunction(() => window.location.search === "?shape=gpt2");
  await page.goBack();
  await waitForState(page, (state) => state.shapes.length === 3);
  expect(complaints).toEqual([]);
  await close();
});

test("an unknown shape in a link is named, the page has a model, and a shape can be picked", async () => {
  const opened = await openPage(browser, inject("serverUrl"), {
    reducedMotion: true,
    path: "/llm/?shape=nothing",
  });
  const { page, complaints } = opened;
  await waitForState(page, (state) => state.anatomy !== null && state.modelFailure !== null);
  expect(await page.getByTestId("error").innerText()).toContain("There is no shape 'nothing'");
  expect(complaints.splice(0).every((each) => each.includes("nothing"))).toBe(true);
  await page.getByTestId("model-picker").click();
  await page.locator("[data-shape-id=mixtral-8x7b]").click();
  await waitForState(page, (state) => state.shapes[0]?.shape_id === "mixtral-8x7b");
  expect(await readState(page, (state) => state.trace)).toBeNull();
  await page.getByTestId("model-picker").click();
  await page.locator("[data-model-id=sorter]").click();
  await waitForState(page, (state) => state.shapes.length === 0 && state.anatomy?.model_id === "sorter");
  expect(complaints).toEqual([]);
  await opened.close();
});
