import type { Page } from "playwright-core";
import { expect, inject, test } from "vitest";
import { readState, waitForFullPicture, waitForRecording, waitForState } from "./drive.ts";
import { sharePage } from "./sharePage.ts";

const opened = sharePage({ path: "/llm/?model=sorter&prompt=CBABBC", reducedMotion: true });

/** Where a block's stream stands, in CSS pixels. */
function placeOf(page: Page): Promise<{ x: number; y: number }> {
  return page.evaluate(
    () => window.glassformer.scene.placeOf({ address: "resid_post.1", index: [3, 10] }) ?? { x: -1, y: -1 },
  );
}

function readCellWidth(page: Page): Promise<number> {
  return page.evaluate(() => {
    const [one, other] = [10, 11].map((feature) =>
      window.glassformer.scene.placeOf({ address: "resid_post.1", index: [3, feature] }),
    );
    return Math.hypot((one?.x ?? 0) - (other?.x ?? 0), (one?.y ?? 0) - (other?.y ?? 0));
  });
}

/** Waits until the camera has come to rest somewhere else. */
async function waitForMove(page: Page, before: unknown): Promise<void> {
  await page.waitForFunction(
    (before) => JSON.stringify(window.glassformer.store.getState().view) !== before,
    JSON.stringify(before),
  );
}

const readView = (page: Page) => readState(page, (state) => state.view);

test("a double click flies to what is under it; Z goes back, Shift+Z forth, F shows all", async () => {
  const { page } = opened();
  const whole = await readView(page);
  expect(whole).toEqual({ pose: null, canUndo: false, canRedo: false });
  expect(await page.getByTestId("undo-view").isDisabled()).toBe(true);
  const at = await placeOf(page);
  const cellWidth = await readCellWidth(page);
  await page.mouse.dblclick(at.x, at.y);
  await waitForMove(page, whole);
  const near = await readView(page);
  expect(await readCellWidth(page)).toBeGreaterThan(1.3 * cellWidth);
  await page.locator("#scene").focus();
  await page.keyboard.press("z");
  await waitForMove(page, near);
  expect(await readView(page)).toEqual({ pose: null, canUndo: false, canRedo: true });
  await page.keyboard.press("Shift+Z");
  await waitForState(page, (state) => state.view.pose !== null);
  expect((await readView(page)).pose).toEqual(near.pose);
  await page.keyboard.press("f");
  await waitForState(page, (state) => state.view.pose === null);
  await page.getByTestId("undo-view").click();
  await waitForState(page, (state) => state.view.pose !== null);
});

test("/ finds a cell, a word of the text and a block; the way to a cell can be gone back", async () => {
  const { page } = opened();
  const search = async (query: string) => {
    await page.locator("#scene").focus();
    await page.keyboard.press("/");
    await page.getByTestId("search-input").fill(query);
    await page.keyboard.press("Enter");
    await page.getByTestId("search").waitFor({ state: "detached" });
  };
  await search("attn_probs.1 0 4 2");
  expect(await readState(page, (state) => state.selection)).toEqual({
    address: "attn_probs.1",
    index: [0, 4, 2],
  });
  await page.waitForFunction(() => (window.glassformer.store.getState().view.pose?.distance ?? 1e9) < 500);
  const near = await readView(page);
  const crumbs = page.getByRole("navigation", { name: "Where this cell stands" }).getByRole("button");
  const names = (await crumbs.allInnerTexts()).filter((name) => name !== "");
  expect(names).toEqual(["sorter", "Block 1", "attn_probs.1", "[0, 4, 2]"]);
  await crumbs.nth(1).click();
  await waitForMove(page, near);
  expect((await readView(page)).pose?.distance).toBeGreaterThan(near.pose?.distance ?? 0);
  await search("3");
  expect(await readState(page, (state) => state.position)).toBe(3);
  await page.evaluate(() => window.glassformer.store.setState({ selection: null, position: null }));
});

test("a link brings the camera back to where it stood", async () => {
  const { page } = opened();
  await page.waitForFunction(() => {
    // A link is written once the camera rests: wait for the one that tells this view.
    const written = new URLSearchParams(location.search).get("view")?.split(",").map(Number) ?? [];
    const pose = window.glassformer.store.getState().view.pose;
    return pose !== null && Math.abs((written[3] ?? 0) / pose.distance - 1) < 1e-4;
  });
  const before = await readView(page);
  await page.reload();
  await waitForFullPicture(page);
  await waitForState(page, (state) => state.view.pose !== null);
  const after = await readView(page);
  // A link holds five digits of each number.
  expect((after.pose?.distance ?? 0) / (before.pose?.distance ?? 1)).toBeCloseTo(1, 3);
  expect(after.pose?.target[0]).toBeCloseTo(before.pose?.target[0] ?? 0, 0);
});

test("a link to a position, an address or a token that is not there says so in one sentence and shows the rest", async () => {
  const { page, complaints } = opened();
  const open = async (query: string) => {
    await page.goto(`${inject("serverUrl")}/llm/?model=sorter&${query}`);
    await waitForRecording(page);
  };
  await open("prompt=CBABBC&position=99&cell=nowhere.3:1");
  await page.getByTestId("link-fault").getByText("position 99, but this text has 6 tokens").waitFor();
  expect(await readState(page, (state) => state.trace?.tokens.length)).toBe(6);
  await page.getByTestId("link-fault").getByRole("button").click();
  expect(await page.getByTestId("link-fault").count()).toBe(0);

  await page.getByTestId("inspector-hindrance").getByText("nothing of the name nowhere.3").waitFor();

  await open("prompt=CBABBC&ids=1,4000000");
  await page.getByTestId("link-fault").getByText("cannot be run: Token ids run from 0").waitFor();
  expect(await readState(page, (state) => state.tracePrompt)).toBe("CBABBC");

  await open("prompt=CBABBC&cell=z.0:a&view=far");
  await page.getByTestId("link-fault").getByText("cell, view").waitFor();
  expect(complaints.splice(0)).toEqual([expect.stringMatching(/^422: /)]);
});
