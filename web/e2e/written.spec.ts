import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { launchBrowser, openPage } from "./browser.ts";
import { readState, waitForRecording, waitForState } from "./drive.ts";
import { startServer } from "./server.ts";

const PROMPT = "Mia says";
/** Right to left, of three bytes, of four; every byte of them is a token of its own. */
const ANSWER = " שלום 漢字 🙂";

let browser: Browser;
beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser.close());

async function ask<Answer>(path: string, body: unknown): Promise<Answer> {
  const answer = await fetch(`${inject("serverUrl")}${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  return (await answer.json()) as Answer;
}

test("what was written can be read, selected and copied as text", async () => {
  const path = `/llm/?model=tales&prompt=${PROMPT}&tokens=40&temperature=0`;
  const { page, complaints, close } = await openPage(browser, inject("serverUrl"), { path });
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await waitForRecording(page);
  expect(await page.getByTestId("written").count()).toBe(0);
  await page.getByTestId("generate").click();
  await waitForState(page, (state) => state.activity === "idle" && state.trace?.status === "done");

  const { completion } = await ask<{ completion: string }>("/generate", {
    model_id: "tales",
    prompt: PROMPT,
    max_new_tokens: 40,
    temperature: 0,
  });
  const text = PROMPT + completion;
  expect(completion.length).toBeGreaterThan(20);
  const shown = page.getByTestId("written");
  expect(await shown.evaluate((element) => element.textContent)).toBe(text);

  await page.getByTestId("copy").click();
  await page.getByRole("button", { name: "Copy the text" }).waitFor();
  await page.getByText("Copied", { exact: true }).waitFor({ state: "attached" });
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(text);

  const selected = await shown.evaluate((element) => {
    window.getSelection()?.selectAllChildren(element);
    return window.getSelection()?.toString();
  });
  expect(selected).toBe(text);

  // Told in pieces, of which the last ends where the text does.
  const told = await page.getByTestId("announcement").evaluate((element) => element.textContent ?? "");
  expect(told).not.toBe("");
  expect(completion.endsWith(told)).toBe(true);
  expect(complaints).toEqual([]);
  await close();
});

test("characters of several tokens and of other directions are whole, in a recording somebody else made too", async () => {
  const { token_ids } = await ask<{ token_ids: number[] }>("/tokenize", {
    model_id: "tales",
    prompt: PROMPT + ANSWER,
  });
  const prompt = await ask<{ token_ids: number[] }>("/tokenize", { model_id: "tales", prompt: PROMPT });
  const forced = token_ids.slice(prompt.token_ids.length);
  expect(forced.length).toBeGreaterThan([...ANSWER].length);
  const { id } = await ask<{ id: string }>("/api/traces", {
    model_id: "tales",
    prompt: PROMPT,
    max_new_tokens: forced.length,
    sampling: { temperature: 0, forced_token_ids: forced },
  });
  const { page, close } = await openPage(browser, inject("serverUrl"), { path: `/llm/?trace=${id}` });
  await waitForRecording(page);
  await waitForState(page, (state) => Object.keys(state.steps).length > 20);
  const shown = page.getByTestId("written");
  expect(await shown.evaluate((element) => element.textContent)).toBe(PROMPT + ANSWER);
  expect(await shown.getAttribute("dir")).toBe("auto");
  // Cut in the middle of a character, nothing of it is shown.
  const pieces = await readState(page, (state) => Object.values(state.steps).map((step) => step.text));
  expect(pieces.join("")).toBe(ANSWER);
  expect(pieces.filter((piece) => piece === "").length).toBeGreaterThan(5);
  expect(pieces.some((piece) => piece.includes("\ufffd"))).toBe(false);
  await close();
});

test("seen from another machine, the page names its host, and copies without a clipboard of its own", async () => {
  const host = "glass.example";
  const away = await startServer(["--allowed-host", host]);
  const browser = await launchBrowser([`--host-resolver-rules=MAP ${host} 127.0.0.1`]);
  try {
    const path = `/llm/?model=tales&prompt=${PROMPT}&tokens=12&temperature=0&drawn=1`;
    const { page } = await openPage(browser, `http://${host}:${away.port}`, { path });
    await waitForRecording(page);
    const about = await page.getByTestId("about").innerText();
    expect(about).toMatch(/is a language model: .*, running on glass\.example\.$/);
    expect(await page.evaluate(() => window.isSecureContext)).toBe(false);

    const text = await page.getByTestId("written").evaluate((element) => element.textContent ?? "");
    await page.getByTestId("copy").click();
    await page.getByText("Copied", { exact: true }).waitFor({ state: "attached" });
    await page.getByTestId("prompt").fill("");
    await page.getByTestId("prompt").press("ControlOrMeta+V");
    expect(await page.getByTestId("prompt").inputValue()).toBe(text);
  } finally {
    await browser.close();
    await away.stop();
  }
});
