import { expect, inject, test } from "vitest";
import { readCanvasPixels, readState, readStats } from "./drive.ts";
import { sharePage } from "./sharePage.ts";

const IDLE_MS = 2_000;
/** Compressed bytes of the page's own files; what its numbers weigh is measured by bench/page.py. */
const ASSET_BUDGET = 1_200_000;
const DRAW_CALL_BUDGET = 80;
const TRIANGLE_BUDGET = 120_000;

const POINTS =
  "resid_pre attn_in q k v attn_scores attn_probs z attn_out resid_mid mlp_in mlp_pre mlp_act mlp_out resid_post";

const opened = sharePage();

test("with no click, the bundled model has run a sample prompt and stands in 3D", async () => {
  const { page } = opened();
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
  expect(await page.title()).toContain("Glassformer");
});

test("one line says what this is, how big it is and that it runs here", async () => {
  const about = (await opened().page.getByTestId("about").innerText()).replaceAll(/\s/g, " ");
  expect(about).toBe("tales is a language model: 1.0 M parameters in 5 blocks, running on this computer.");
});

test("the canvas is not blank", async () => {
  const pixels = await readCanvasPixels(opened().page);
  expect(pixels.drawnShare).toBeGreaterThan(0.05);
  expect(pixels.distinctColors).toBeGreaterThan(1_000);
});

test("every part of every block is in the anatomy and has passed its own check", async () => {
  const { page } = opened();
  const sites = await readState(page, (state) =>
    state.anatomy
      ? [
          ...state.anatomy.before,
          ...state.anatomy.blocks.flatMap((block) => block.sites),
          ...state.anatomy.after,
        ].map(({ address, check }) => ({ address, status: check.status }))
      : [],
  );
  const blocks = await readState(page, (state) => state.anatomy?.dimensions.blocks ?? 0);
  const addresses = new Set(sites.map((site) => site.address));
  for (let block = 0; block < blocks; block += 1) {
    for (const point of POINTS.split(" ")) expect(addresses).toContain(`${point}.${block}`);
  }
  for (const address of ["embeddings", "final_norm", "lm_head"]) expect(addresses).toContain(address);
  expect(sites.filter((site) => site.status === "refused")).toEqual([]);
});

test("an idle page draws no frames, and the picture keeps to its budget", async () => {
  const { page, transferredBytes } = opened();
  // The test before made the panels come and go: let the picture settle.
  await page.waitForTimeout(IDLE_MS);
  const before = await readStats(page);
  await page.waitForTimeout(IDLE_MS);
  const after = await readStats(page);
  expect(after.frames).toBe(before.frames);
  expect(after.drawCalls).toBeLessThanOrEqual(DRAW_CALL_BUDGET);
  expect(after.triangles).toBeLessThanOrEqual(TRIANGLE_BUDGET);
  expect(transferredBytes().assets).toBeLessThan(ASSET_BUDGET);
});

test("the address '/' leads to the page", async () => {
  const answer = await fetch(`${inject("serverUrl")}/`);
  expect(new URL(answer.url).pathname).toMatch(/^\/llm\/?$/);
  expect(await answer.text()).toContain("<title>Glassformer</title>");
});
