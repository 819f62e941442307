import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { readState, waitForFullPicture } from "./drive.ts";
import { sharePage } from "./sharePage.ts";

const opened = sharePage({ reducedMotion: true });

/** Whether a cell stands where no panel covers it. */
function isSeen(page: Page, address: string, index: number[]): Promise<boolean> {
  return page.evaluate(
    (cell) => {
      const at = window.glassformer.scene.placeOf(cell);
      return at !== null && document.elementFromPoint(at.x, at.y) instanceof HTMLCanvasElement;
    },
    { address, index },
  );
}

test("each step of the guide is seen, wherever one looked before", async () => {
  const { page, complaints } = opened();
  await waitForFullPicture(page);
  const last = await readState(page, (state) => (state.anatomy?.blocks.length ?? 1) - 1);
  await page.getByTestId("outline-toggle").click();
  await page.locator(`[data-node="block.${last}"]`).click();
  await page.locator(`[data-node="mlp_out.${last}"]`).click();
  await waitForFullPicture(page);
  await page.keyboard.press("Escape");
  await page.keyboard.press("Escape");
  await waitForFullPicture(page);
  expect(await isSeen(page, "attn_probs.0", [0, 3, 1])).toBe(false);

  await page.getByTestId("guide-toggle").click();
  const guide = page.getByTestId("guide");
  const next = async () => {
    await guide.locator(".button-primary").click();
    await waitForFullPicture(page);
  };
  while (!(await guide.getByText("Who looks at whom").isVisible())) await next();
  expect(await isSeen(page, "attn_probs.0", [0, 3, 1])).toBe(true);
  while (!(await guide.getByText("The next token").isVisible())) await next();
  // Its bars stand at the foot, and its tokens at the top: the whole model is in view.
  expect(await isSeen(page, "embeddings", [0, 0])).toBe(true);
  expect(await isSeen(page, "lm_head", [0, 0])).toBe(true);
  expect(complaints).toEqual([]);
});

test("what was chosen in the outline stays in view when the inspector takes half of its height", async () => {
  const { page } = opened();
  await page.keyboard.press("Escape");
  await page.getByTestId("outline-toggle").click();
  const row = page.locator('[data-node="resid_post.0"]');
  await row.click();
  await page.getByTestId("inspector").waitFor();
  const shown = await row.evaluate((element) => {
    const [own, tree] = [element, element.parentElement as Element].map((each) =>
      each.getBoundingClientRect(),
    ) as [DOMRect, DOMRect];
    return own.top >= tree.top && own.bottom <= tree.bottom + 1;
  });
  expect(shown).toBe(true);
});
