import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { readState, waitForFullPicture, waitForState } from "./drive.ts";
import { sharePage } from "./sharePage.ts";

const opened = sharePage({
  path: "/llm/?model=tales&prompt=Mia+has+a+ball.&temperature=0&tokens=8",
  reducedMotion: true,
});

const QUESTION = "Zoe has a key. Zoe gives the key to Leo. Who has the key?";

async function waitForAnswer(page: Page, messages: number): Promise<void> {
  await page.waitForFunction((messages) => {
    const { activity, made } = window.glassformer.store.getState();
    return activity === "idle" && made?.given.messages?.length === messages;
  }, messages);
}

test("a message is answered in the model's own chat template, and the next one goes on with the conversation", async () => {
  const { page } = opened();
  await page.getByTestId("mode-chat").click();
  await page.getByTestId("prompt").fill(QUESTION);
  await page.keyboard.press("Enter");
  await waitForAnswer(page, 1);
  const first = await readState(page, (state) => state.trace?.messages);
  expect(first).toEqual([{ role: "user", content: QUESTION }]);
  expect(await page.getByTestId("prompt").inputValue()).toBe("");
  const turns = page.getByTestId("conversation").locator(".turn-text");
  expect(await turns.nth(0).innerText()).toBe(QUESTION);
  const answer = await turns.nth(1).innerText();
  expect(answer.length).toBeGreaterThan(2);

  await page.getByTestId("prompt").fill("Where is the key?");
  await page.keyboard.press("Enter");
  await waitForAnswer(page, 3);
  expect(await readState(page, (state) => state.trace?.messages)).toEqual([
    { role: "user", content: QUESTION },
    { role: "assistant", content: answer },
    { role: "user", content: "Where is the key?" },
  ]);
  expect(await turns.count()).toBe(4);

  // A word leads to its token, of what was asked too.
  await turns.nth(0).getByText("Leo").click();
  const chosen = await readState(page, (state) => state.trace?.tokens[state.position ?? -1]?.text);
  expect(chosen).toBe(" Leo");

  // A link to it makes the same conversation, to the token.
  const ids = await readState(page, (state) => state.trace?.tokens.map((token) => token.id));
  await page.waitForFunction(
    () => location.search.includes("Where+is+the+key") && location.search.includes("position="),
  );
  await page.reload();
  await waitForFullPicture(page);
  expect(await readState(page, (state) => state.trace?.tokens.map((token) => token.id))).toEqual(ids);
  expect(await turns.count()).toBe(4);

  await page.getByTestId("begin-anew").click();
  await page.getByTestId("prompt").fill("Who is Zoe?");
  await page.keyboard.press("Enter");
  await waitForAnswer(page, 1);
  expect(await readState(page, (state) => state.trace?.messages)).toEqual([
    { role: "user", content: "Who is Zoe?" },
  ]);
});

test("a text is written on from its end, and stays one text", async () => {
  const { page } = opened();
  await page.getByTestId("mode-text").click();
  await page.getByTestId("prompt").fill("Mia has a ball.");
  await page.getByTestId("generate").click();
  await waitForState(page, (state) => state.activity === "idle" && state.made?.given.messages === null);
  const before = await page.getByTestId("written").evaluate((element) => element.textContent ?? "");
  const ids = await readState(page, (state) => state.trace?.tokens.map((token) => token.id) ?? []);
  await page.getByTestId("continue").click();
  await waitForState(page, (state) => state.activity === "idle" && state.made?.given.tokenIds != null);
  const after = await page.getByTestId("written").evaluate((element) => element.textContent ?? "");
  expect(after.startsWith(before)).toBe(true);
  expect(after.length).toBeGreaterThan(before.length);
  const longer = await readState(page, (state) => state.trace?.tokens.map((token) => token.id) ?? []);
  expect(longer.slice(0, ids.length)).toEqual(ids);
  // What was given is still told from what was written.
  expect(
    await page
      .getByTestId("written")
      .locator(".quiet")
      .evaluate((element) => element.textContent),
  ).toBe("Mia has a ball.");
  expect(await readState(page, (state) => state.kept.length)).toBeGreaterThan(2);
});
