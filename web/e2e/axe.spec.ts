import axe from "axe-core";
import type { Page } from "playwright-core";
import { describe, expect, test } from "vitest";
import { waitForState } from "./drive.ts";
import { sharePage } from "./sharePage.ts";

const QUERY = "?model=tales&prompt=Mia+has+a+ball.&tokens=60&temperature=1&drawn=8";

/** What can be opened, one on top of the other, as someone does who looks around. */
const STATES: Record<string, (page: Page) => Promise<unknown>> = {
  "as it opens": async () => {},
  "the pickers list": (page) => page.getByTestId("model-picker").click(),
  "an outline": async (page) => {
    await page.keyboard.press("Escape");
    await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
    await page.keyboard.press("o");
    await page.getByTestId("outline").waitFor();
  },
  "all heads": async (page) => {
    await page.evaluate(() =>
      window.glassformer.store.setState(({ panels }) => ({
        panels: { ...panels, heads: true, outline: false },
        sheet: "heads",
      })),
    );
    await page.getByTestId("head-card").waitFor();
  },
  "a probability": (page) => inspect(page, "attn_probs.2", [0, 9, 3]),
  "a weight": (page) => inspect(page, "model.layers.1.mlp.up_proj.weight", [7, 5]),
  "a cell that is not there": (page) => inspect(page, "resid_post.1", [500, 0]),
  "all settings": (page) =>
    page.evaluate(() => {
      window.glassformer.store.setState({ sheet: "sampling" });
      setTimeout(() => {
        for (const details of document.querySelectorAll("details")) details.open = true;
      });
    }),
  "the guide": (page) =>
    page.evaluate(() =>
      window.glassformer.store.setState(({ panels }) => ({ panels: { ...panels, guide: true } })),
    ),
  "every failure": (page) =>
    page.evaluate(() => {
      const { panels } = window.glassformer.store.getState();
      window.glassformer.store.setState({
        panels: { ...panels, guide: false },
        sheet: "prompt",
        runError: "The prompt is too long.",
        modelFailure: { modelId: "nobody/nothing", message: "There is no such model." },
        forgotten: true,
        sceneState: "lost",
      });
    }),
  "a model on its way, and no server": (page) =>
    page.evaluate(() =>
      window.glassformer.store.setState({
        connection: "lost",
        sceneState: "absent",
        opening: { modelId: "sorter", progress: null },
      }),
    ),
  "the question for a key": (page) =>
    page.evaluate(() => window.glassformer.store.setState({ keyWanted: "wrong" })),
};

describe.each([
  ["dark", 1400, 900],
  ["light", 1400, 900],
  ["dark", 390, 844],
  ["light", 700, 450],
] as const)("%s, %i x %i", (theme, width, height) => {
  const opened = sharePage({ path: `/llm/${QUERY}`, theme, width, height, reducedMotion: true });

  test("axe finds nothing serious, whatever is open", async () => {
    const { page } = opened();
    await page.evaluate(axe.source);
    for (const [name, open] of Object.entries(STATES)) {
      await open(page);
      expect(await findFaults(page), name).toEqual([]);
    }
  });
});

async function inspect(page: Page, address: string, index: number[]): Promise<void> {
  await page.evaluate((selection) => window.glassformer.store.setState({ selection, sheet: "inspector" }), {
    address,
    index,
  });
  await page.getByTestId("inspector").waitFor();
  await waitForState(page, (state) => state.inspected.status !== "loading");
}

/** Of every fault that axe calls serious or critical: its name and the first elements that have it. */
async function findFaults(page: Page): Promise<string[]> {
  const { violations } = await page.evaluate(async () => {
    // What was just opened has to be there; nothing moves here that takes longer.
    await new Promise((resolve) => setTimeout(resolve, 300));
    return (window as unknown as { axe: typeof import("axe-core") }).axe.run(document, {
      resultTypes: ["violations"],
    });
  });
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 120))}`);
}
