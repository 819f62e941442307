import type { Page } from "playwright-core";
import { expect, inject, test } from "vitest";
import { readState, waitForFullPicture, waitForState } from "./drive.ts";
import { sharePage } from "./sharePage.ts";

const opened = sharePage({
  path: "/llm/?model=tales&prompt=Mia+has+a+ball.&tokens=12&temperature=0&drawn=1",
  reducedMotion: true,
});

const readIds = (page: Page) =>
  readState(page, (state) => state.trace?.tokens.map((token) => token.id) ?? []);
const readTraceId = (page: Page) => readState(page, (state) => state.trace?.id ?? "");

/** Does something that makes another recording, and waits for it to end. */
async function make(page: Page, act: () => Promise<unknown>): Promise<void> {
  const before = await readTraceId(page);
  await act();
  await page.waitForFunction((id) => window.glassformer.store.getState().trace?.id !== id, before);
  await waitForState(page, (state) => state.activity === "idle" && state.trace?.status === "done");
}

test("another word is written in a token's place and the text goes on; both branches are kept", async () => {
  const { page } = opened();
  const first = await readIds(page);
  const firstId = await readTraceId(page);
  // Scrubbing shows what could have stood at any place, of the answer too.
  await page.getByTestId("timeline").getByRole("button").nth(7).click();
  await waitForState(
    page,
    (state) => state.distribution.status === "ready" && state.distribution.value?.pos === 7,
  );
  await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
  await page.keyboard.press(",");
  await waitForState(
    page,
    (state) => state.distribution.status === "ready" && state.distribution.value?.pos === 6,
  );
  const other = await readState(
    page,
    ({ distribution }) =>
      distribution.value?.candidates.find((each) => each.token.id !== distribution.value?.chosen)?.token.id ??
      -1,
  );
  await make(page, () => page.getByTestId("force").nth(1).click());
  const branch = await readIds(page);
  expect(branch.slice(0, 7)).toEqual(first.slice(0, 7));
  expect(branch[7]).toBe(other);
  expect(branch.length).toBeGreaterThan(9);
  await page.waitForFunction(() => location.search.includes("forced="));
  // The answer began where it did, though some of it was given this time.
  expect(
    await page
      .getByTestId("written")
      .locator(".quiet")
      .evaluate((each) => each.textContent),
  ).toBe("Mia has a ball.");

  await page.getByTestId("kept-toggle").click();
  expect(await page.getByTestId("kept-list").getByRole("button").count()).toBe(2);
  await page.getByTestId("kept-list").getByRole("button").first().click();
  await waitForState(page, (state) => state.activity === "idle");
  expect(await readTraceId(page)).toBe(firstId);
  expect(await readIds(page)).toEqual(first);
  // So does the browser's own way back and forth.
  await page.waitForFunction(() => !location.search.includes("forced="));
  await page.goBack();
  await page.waitForFunction((id) => window.glassformer.store.getState().trace?.id !== id, firstId);
  expect(await readIds(page)).toEqual(branch);

  // The link makes the branch again, to the token, on a page that never saw the text it came from.
  await page.waitForFunction(() => location.search.includes("forced="));
  await page.reload();
  await waitForFullPicture(page);
  await waitForState(page, (state) => state.activity === "idle" && state.trace?.status === "done");
  expect(await readIds(page)).toEqual(branch);
});

test("a text goes on one token at a time, and from a token that was gone back to", async () => {
  const { page } = opened();
  const before = await readIds(page);
  await make(page, () => page.getByTestId("write-one").click());
  const longer = await readIds(page);
  const ended = await readState(page, (state) => state.trace?.tokens.at(-1)?.special ?? false);
  expect(longer.length).toBeLessThanOrEqual(before.length + 1);
  expect(longer.length >= before.length || ended).toBe(true);
  await page.getByTestId("timeline").getByRole("button").nth(3).click();
  await waitForState(page, (state) => state.position === 3);
  await make(page, () => page.getByTestId("write-one").click());
  const rewound = await readIds(page);
  expect(rewound.slice(0, 4)).toEqual(before.slice(0, 4));
  expect(rewound).toHaveLength(5);
});

test("a recording that the server gave up is shown as far as the page holds it, and can be made again", async () => {
  const { page, complaints } = opened();
  const gone = await readState(page, (state) => ({
    id: state.kept[0]?.trace.id ?? "",
    ids: state.kept[0]?.trace.tokens.map((token) => token.id),
  }));
  await fetch(`${inject("serverUrl")}/api/traces/${gone.id}`, { method: "DELETE" });
  await page.getByTestId("kept-toggle").click();
  await page.getByTestId("kept-list").getByRole("button").first().click();
  await page.getByTestId("forgotten").waitFor();
  expect(await readIds(page)).toEqual(gone.ids);
  await make(page, () => page.getByTestId("run-again").click());
  expect(await readIds(page)).toEqual(gone.ids);
  expect(await page.getByTestId("forgotten").count()).toBe(0);
  const told = complaints.splice(0);
  expect(told.filter((each) => !each.startsWith("404: "))).toEqual([]);
  expect(told.length).toBeGreaterThan(0);
});

test("what was gone back to stays there while more is written, and what makes room for it is not asked for", async () => {
  const { page, complaints } = opened();
  await page.evaluate(() => window.glassformer.scene.fit());
  const makeOne = () => make(page, () => page.getByTestId("run").click());
  for (let made = 0; made < 8; made += 1) await makeOne();
  const oldest = await readState(page, (state) => state.kept[0]?.trace.id ?? "");
  await page.getByTestId("kept-toggle").click();
  await page.getByTestId("kept-list").getByRole("button").first().click();
  await waitForState(page, (state) => state.activity === "idle");
  expect(await readTraceId(page)).toBe(oldest);
  await makeOne();
  await waitForFullPicture(page);
  const held = await readState(page, ({ kept, trace }) => [...kept.map((each) => each.trace.id), trace?.id]);
  expect(held).toHaveLength(8);
  expect(held).toContain(oldest);
  // Those that are given up are deleted a little later.
  await page.waitForTimeout(3_000);
  for (const id of held) expect((await fetch(`${inject("serverUrl")}/api/traces/${id}`)).status).toBe(200);
  expect(complaints).toEqual([]);
});
