import type { Browser, Frame, Page } from "playwright-core";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { launchBrowser, openPage } from "./browser.ts";
import { readCanvasPixels, runPrompt, waitForFullPicture, waitForState } from "./drive.ts";
import { expectSamePicture } from "./samePicture.ts";

/** How long the page waits for a context to come back. */
const RESTORE_MS = 3_000;
/** Longer than that. */
const LOST_MS = 15_000;

let browser: Browser;

beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser.close());

test("without WebGL 2 the page says so, and everything that needs none works", async () => {
  const without = await launchBrowser(["--disable-3d-apis"]);
  try {
    const { page, complaints } = await openPage(without, inject("serverUrl"), { reducedMotion: true });
    await page.getByTestId("scene-notice").getByText("WebGL 2").waitFor();
    await runPrompt(page, "Mia has a red ball.");
    await waitForState(page, (state) => state.distribution.status === "ready");
    expect(await page.getByTestId("distribution").getByRole("row").count()).toBeGreaterThan(5);
    expect(await page.getByTestId("tokens").getByRole("listitem").count()).toBeGreaterThan(4);

    await page.getByRole("button", { name: "Open the outline" }).click();
    await page.getByTestId("outline").getByText("resid_post.0", { exact: true }).click();
    await waitForState(page, (state) => state.inspected.status === "ready");
    await page.getByTestId("inspector-value").getByText(/\d/).waitFor();
    await waitForState(page, (state) => state.explanation.status === "ready");
    expect(await page.getByTestId("legend").innerText()).toMatch(/resid_post\.0/);
    expect(complaints).toEqual([]);
  } finally {
    await without.close();
  }
});

test("a context that comes back shows the same picture; one that does not can be drawn again", async () => {
  const { page, complaints, close } = await openPage(browser, inject("serverUrl"), { reducedMotion: true });
  await waitForFullPicture(page);
  const before = await readCanvasPixels(page);
  await loseContext(page, { restoreMs: 300 });
  await waitForFullPicture(page);
  expect(await page.getByTestId("scene-notice").count()).toBe(0);
  expectSamePicture(await readCanvasPixels(page), before);

  await loseContext(page, { restoreMs: null });
  await page.getByTestId("scene-notice").getByText("taken the 3D picture away").waitFor({ timeout: LOST_MS });
  await page.getByRole("button", { name: "Draw it again" }).click();
  await waitForFullPicture(page);
  expect(await page.getByTestId("scene-notice").count()).toBe(0);
  expectSamePicture(await readCanvasPixels(page), before);

  await runPrompt(page, "Mia has a red ball.");
  await waitForFullPicture(page);
  expect((await readCanvasPixels(page)).distinctColors).toBeGreaterThan(1_000);
  expect(complaints.filter((each) => !each.includes("Context Lost"))).toEqual([]);
  await close();
});

test("a frame that nobody sees gives its context up, and draws when it is seen", async () => {
  const { page, close } = await openPage(browser, inject("serverUrl"), { path: "/health" });
  await page.evaluate(() => {
    document.body.innerHTML = ["first", "second"]
      .map((name) => `<iframe name="${name}" src="/llm/" style="width: 800px; height: 500px"></iframe>`)
      .join(`<div style="height: 3000px"></div>`);
  });
  await waitInFrame(page, "first", "drawn");
  await waitInFrame(page, "second", "resting");
  expect(await (await frameOf(page, "second")).locator("#scene").count()).toBe(0);

  await page.evaluate(() => window.scrollTo(0, document.body.scrollHeight));
  await waitInFrame(page, "second", "drawn");
  await waitInFrame(page, "first", "resting");
  const first = await frameOf(page, "first");
  expect(await first.locator("#scene").count()).toBe(0);
  // It gave its context up itself, which is not to be told as a loss when the wait for one is over.
  await page.waitForTimeout(RESTORE_MS + 1_000);
  expect(await first.evaluate(() => window.glassformer.store.getState().sceneState)).toBe("resting");
  await (await frameOf(page, "second")).waitForFunction(
    () => window.glassformer.scene.stats().textureBytes > 100_000,
  );

  await page.evaluate(() => window.scrollTo(0, 0));
  await waitInFrame(page, "first", "drawn");
  await (await frameOf(page, "first")).waitForFunction(
    () => window.glassformer.scene.stats().textureBytes > 100_000,
  );
  await close();
});

async function loseContext(page: Page, { restoreMs }: { restoreMs: number | null }): Promise<void> {
  await page.evaluate((restoreMs) => {
    const canvas = document.querySelector<HTMLCanvasElement>("#scene");
    const extension = canvas?.getContext("webgl2")?.getExtension("WEBGL_lose_context");
    extension?.loseContext();
    if (restoreMs !== null) setTimeout(() => extension?.restoreContext(), restoreMs);
  }, restoreMs);
  if (restoreMs !== null) await page.waitForTimeout(restoreMs * 3);
}

async function frameOf(page: Page, name: string): Promise<Frame> {
  const handle = await page.waitForSelector(`iframe[name=${name}]`);
  const frame = await handle.contentFrame();
  if (!frame) throw new Error(`no frame ${name}`);
  return frame;
}

async function waitInFrame(page: Page, name: string, sceneState: string): Promise<void> {
  await (await frameOf(page, name)).waitForFunction(
    (wanted) => window.glassformer?.store.getState().sceneState === wanted,
    sceneState,
    { timeout: 60_000 },
  );
}
