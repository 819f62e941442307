import type { Browser } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, inject, test } from "vitest";
import { launchBrowser, openPage, type WatchedPage } from "./browser.ts";
import { readCanvasPixels, readState, readStats, waitForFullPicture } from "./drive.ts";

let browser: Browser;
let opened: WatchedPage;
beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser.close());
afterEach(() => opened.close());

test("with no click, the bundled model has run a sample prompt and stands in 3D", async () => {
  opened = await openPage(browser, inject("serverUrl"));
  const { page } = opened;
  await waitForFullPicture(page);

  const shown = await readState(page, (state) => ({
    model: state.anatomy?.model_id,
    tokens: state.trace?.tokens.length ?? 0,
    prompt: state.prompt,
    candidates: state.distribution.value?.candidates.length ?? 0,
  }));
  expect(shown.model).toBe("tales");
  expect(shown.tokens).toBeGreaterThan(5);
  expect(shown.prompt).not.toBe("");
  expect(shown.candidates).toBeGreaterThan(5);

  expect(await page.evaluate(() => document.activeElement?.getAttribute("data-testid"))).toBe("prompt");

  const pixels = await readCanvasPixels(page);
  expect(pixels.drawnShare).toBeGreaterThan(0.03);
  expect(pixels.distinctColors).toBeGreaterThan(200);

  expect(await page.title()).toContain("Glassformer");
  expect(opened.complaints).toEqual([]);
});

test("the address '/' leads to the page", async () => {
  opened = await openPage(browser, inject("serverUrl"), { path: "/" });
  expect(new URL(opened.page.url()).pathname).toMatch(/^\/llm\/?$/);
});

test("every part of every block is in the anatomy and has passed its own check", async () => {
  opened = await openPage(browser, inject("serverUrl"));
  await waitForFullPicture(opened.page);
  const sites = await readState(opened.page, (state) =>
    state.anatomy
      ? [
          ...state.anatomy.before,
          ...state.anatomy.blocks.flatMap((block) => block.sites),
          ...state.anatomy.after,
        ].map(({ address, check }) => ({ address, status: check.status }))
      : [],
  );
  const blocks = await readState(opened.page, (state) => state.anatomy?.dimensions.blocks ?? 0);
  const addresses = new Set(sites.map((site) => site.address));
  const perBlock =
    "resid_pre attn_in q k v attn_scores attn_probs z attn_out resid_mid mlp_in mlp_pre mlp_act mlp_out resid_post";
  for (let block = 0; block < blocks; block += 1) {
    for (const point of perBlock.split(" ")) expect(addresses).toContain(`${point}.${block}`);
  }
  for (const address of ["embeddings", "final_norm", "lm_head"]) expect(addresses).toContain(address);
  expect(sites.filter((site) => site.status === "refused")).toEqual([]);
});

test("an idle page draws no frames, and the picture keeps to its budget", async () => {
  opened = await openPage(browser, inject("serverUrl"));
  const { page } = opened;
  await waitForFullPicture(page);
  const before = await readStats(page);
  await page.waitForTimeout(2_000);
  const after = await readStats(page);
  expect(after.frames).toBe(before.frames);
  expect(after.drawCalls).toBeLessThanOrEqual(80);
  expect(after.triangles).toBeLessThanOrEqual(120_000);
  // Assets and the numbers of the first picture together.
  const transferred = opened.transferredBytes();
  expect(transferred.assets + transferred.data).toBeLessThan(1_200_000);
});
