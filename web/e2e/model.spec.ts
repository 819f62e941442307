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

test("a model that takes the place of one at work asks nothing of what it has given back", async () => {
  const { page, complaints } = opened();
  // Answers that take their time: what is asked last is still under way.
  const distributions = "**/api/traces/*/distribution?*";
  await page.route(distributions, async (route) => {
    await new Promise((resolve) => setTimeout(resolve, 500));
    await route.continue();
  });
  await page.getByTestId("generate").click();
  await waitForState(page, (state) => (state.trace?.tokens.length ?? 0) > (state.trace?.prompt_count ?? 0));
  await pickModel("tales");
  await waitForState(page, (state) => state.anatomy?.model_id === "tales" && state.opening === null);
  await waitForFullPicture(page);
  await page.unrouteAll({ behavior: "wait" });
  expect(complaints).toEqual([]);
  await pickModel("sorter");
  await waitForState(page, (state) => state.anatomy?.model_id === "sorter" && state.opening === null);
  await waitForFullPicture(page);
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

test("a model is drawn in outline before it is checked, and filled where it stands", async () => {
  const { page } = opened();
  // The server's own answer, as it is to who asks before the first part has been checked.
  await page.route("**/api/models/tales/anatomy", async (route) => {
    const answer = await route.fetch();
    const anatomy = await answer.json();
    const sites = anatomy.blocks.flatMap((block: { sites: object[] }) => block.sites);
    for (const site of [...anatomy.before, ...sites, ...anatomy.after])
      Object.assign(site, { check: { ...site.check, status: "unchecked" }, equation: null });
    await route.fulfill({ response: answer, json: { ...anatomy, checked: 0 } });
  });
  await page.evaluate(() => {
    const { store, scene } = window.glassformer;
    const seen: object[] = [];
    Object.assign(window, { seen });
    store.subscribe(({ anatomy }, previous) => {
      if (!anatomy || anatomy === previous.anatomy || anatomy.model_id !== "tales") return;
      const inside = anatomy.blocks.flatMap((block) => block.sites);
      const statuses = [...anatomy.before, ...inside, ...anatomy.after].map(({ check }) => check.status);
      requestAnimationFrame(() =>
        requestAnimationFrame(() => {
          // Of a weight: tokens that arrive meanwhile are more columns between the same corners.
          const place = scene.placeOf({ address: "model.layers.1.mlp.down_proj.weight", index: [0, 0] });
          seen.push({ unchecked: statuses.filter((status) => status === "unchecked").length, place });
        }),
      );
    });
  });
  await pickModel("tales");
  await waitForState(
    page,
    (state) => state.anatomy?.model_id === "tales" && state.anatomy.checked === state.anatomy.parts,
  );
  await waitForFullPicture(page);
  await page.unroute("**/api/models/tales/anatomy");
  const seen = await page.evaluate(
    () =>
      (window as unknown as { seen: { unchecked: number; place: { x: number; y: number } | null }[] }).seen,
  );
  expect(seen[0]?.unchecked).toBeGreaterThan(50);
  expect(seen.at(-1)?.unchecked).toBe(0);
  for (const { place } of seen) expect(place).toEqual(seen[0]?.place);
  expect(await readState(page, (state) => state.anatomy?.blocks[1]?.sites.every((s) => s.equation))).toBe(
    true,
  );
});

async function pickModel(modelId: string): Promise<void> {
  const { page } = opened();
  await page.getByTestId("model-picker").click();
  await page.getByTestId("model-input").fill(modelId);
  await page.keyboard.press("Enter");
}
