import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { comeNear, readState, waitForFullPicture, waitForState } from "./drive.ts";
import { askTransformers } from "./reference.ts";
import { sharePage } from "./sharePage.ts";

const PROMPT = "Mia has a red ball. Mia gives the ball to Tom.";

/** One cell of every kind of site, in different blocks and heads. */
const CELLS = [
  { address: "embeddings", index: [2, 5] },
  { address: "resid_pre.2", index: [7, 11] },
  { address: "attn_in.1", index: [3, 4] },
  { address: "q.1", index: [2, 6, 3] },
  { address: "k.1", index: [0, 6, 3] },
  { address: "v.0", index: [1, 4, 2] },
  { address: "attn_scores.1", index: [1, 8, 2] },
  { address: "attn_probs.2", index: [0, 9, 3] },
  { address: "z.1", index: [1, 5, 7] },
  { address: "attn_out.0", index: [6, 1] },
  { address: "resid_mid.1", index: [4, 9] },
  { address: "mlp_in.2", index: [8, 0] },
  { address: "mlp_pre.0", index: [3, 20] },
  { address: "mlp_act.1", index: [5, 12] },
  { address: "mlp_out.2", index: [2, 2] },
  { address: "resid_post.1", index: [10, 3] },
  { address: "final_norm", index: [10, 8] },
  { address: "lm_head", index: [10, 40] },
];

const [FIRST] = CELLS;
const query = new URLSearchParams({ prompt: PROMPT, cell: `${FIRST?.address}:${FIRST?.index.join(",")}` });
const opened = sharePage({ path: `/llm/?${query}`, reducedMotion: true });

/** The number a person reads in the inspector when asking for all its digits. */
async function readInspectorValue(page: Page): Promise<number> {
  await waitForState(
    page,
    (state) =>
      state.explanation.status === "ready" &&
      state.explanation.value?.address === state.selection?.address &&
      String(state.explanation.value?.index) === String(state.selection?.index),
  );
  const value = page.getByTestId("inspector-value");
  await value.getByText(/\d/).waitFor();
  const rounded = parseNumber(await value.innerText());
  await value.click();
  const exact = parseNumber(await value.innerText());
  await value.click();
  // Three significant digits, and all of them, are the same number.
  expect(Math.abs(rounded - exact)).toBeLessThanOrEqual(Math.abs(exact) * 0.006);
  return exact;
}

/** Reads a number with a real minus sign and thin spaces. */
function parseNumber(text: string): number {
  return Number(text.replaceAll("−", "-").replace(/[\s\u2009\u202f]/g, ""));
}

test("a link to a cell opens it, and every kind of value is the one transformers computes", async () => {
  const truth = askTransformers({ model: "tales", prompt: PROMPT, cells: CELLS });
  const { page } = opened();
  const shown: Record<string, number> = {};
  for (const cell of CELLS) {
    // As a click does it; the link has done it for the first.
    if (cell !== FIRST) {
      await page.evaluate((selection) => window.glassformer.store.setState({ selection }), cell);
    }
    shown[cell.address] = await readInspectorValue(page);
  }
  for (const [at, { address }] of CELLS.entries()) {
    expect(shown[address], address).toBeCloseTo(truth.values[at] ?? Number.NaN, 4);
  }
});

test("a click in the scene opens the cell under the pointer", async () => {
  const { page } = opened();
  await page.evaluate(() => window.glassformer.store.setState({ selection: null }));
  const cell = await clickUntilSelected(page);
  const shown = await readInspectorValue(page);
  const exact = await readState(page, (state) => state.explanation.value?.value ?? Number.NaN);
  // The digits shown are those that make the same float32; a cell that is computed alone may round otherwise in its last bits.
  const held = Number(await page.getByTestId("inspector-value").getAttribute("data-value"));
  expect(Math.fround(shown)).toBe(Math.fround(held));
  expect(Math.abs(shown - exact)).toBeLessThanOrEqual(Math.abs(exact) * 1e-6);
  const truth = askTransformers({ model: "tales", prompt: PROMPT, cells: [cell] });
  expect(exact).toBeCloseTo(truth.values[0] ?? Number.NaN, 4);
  // What it was computed from adds up to it.
  const explained = await readState(page, (state) => state.explanation.value);
  expect(explained?.recomputed).toBeCloseTo(exact, 3);
});

/** Clicks on a grid over the canvas until a cell of a site with a number is selected, as someone exploring would. */
async function clickUntilSelected(page: Page): Promise<{ address: string; index: number[] }> {
  const box = await page.locator("canvas").first().boundingBox();
  if (!box) throw new Error("no canvas");
  await comeNear(page, { x: box.x + box.width / 2, y: box.y + box.height / 2 });
  await waitForFullPicture(page);
  for (const down of [0.5, 0.4, 0.6, 0.3, 0.7]) {
    for (const across of [0.5, 0.45, 0.55, 0.4, 0.6, 0.35, 0.65]) {
      const x = box.x + box.width * across;
      const y = box.y + box.height * down;
      const onCanvas = await page.evaluate(
        ([x, y]) => document.elementFromPoint(x, y)?.tagName === "CANVAS",
        [x, y] as [number, number],
      );
      if (!onCanvas) continue;
      await page.mouse.click(x, y);
      const selection = await readState(page, (state) => state.selection);
      const isSite = await readState(page, (state) => state.explanation.status !== "empty");
      if (!selection || !isSite) continue;
      await waitForState(page, (state) => state.explanation.status === "ready");
      // A query reads nothing of the keys after it.
      const isMasked = await readState(page, (state) => state.explanation.value?.value === null);
      if (!isMasked) return { address: selection.address, index: [...selection.index] };
    }
  }
  throw new Error("no click on the canvas selected a cell");
}

test("after a run that failed at once a weight can still be looked at", async () => {
  const { page } = opened();
  const select = (address: string, index: number[]) =>
    page.evaluate((selection) => window.glassformer.store.setState({ selection }), { address, index });
  await select("resid_post.1", [3, 5]);
  await waitForState(
    page,
    (state) => state.inspected.value?.address === "resid_post.1" && state.explanation.status === "ready",
  );
  // As the server tells of one whose first forward had an error.
  await page.evaluate(() =>
    window.glassformer.store.setState(({ trace }) => ({
      trace: trace && { ...trace, status: "failed", positions: 0 },
    })),
  );
  await waitForState(
    page,
    (state) => state.inspected.status === "empty" && state.explanation.status === "empty",
  );
  const weight = await readState(page, (state) => state.anatomy?.blocks[0]?.weights[0]?.name ?? "");
  await select(weight, [0, 0]);
  await page.waitForFunction(
    (name) => window.glassformer.store.getState().inspected.value?.address === name,
    weight,
  );
});
