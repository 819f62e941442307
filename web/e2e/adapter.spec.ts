import { execFileSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { AppState } from "../src/state/AppState";
import { launchBrowser, openPage } from "./browser.ts";
import { readState, waitForRecording, waitForState } from "./drive.ts";
import { python, type RunningServer, repository, startServer } from "./server.ts";

const MAKE_ADAPTER = `
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from adapters import make_adapter
from glassformer.bundled import MODELS
make_adapter(MODELS["tales"].folder, Path(sys.argv[2]), base_model_name_or_path="tales", size=0.3)
`;

let browser: Browser;
let server: RunningServer;

beforeAll(async () => {
  browser = await launchBrowser();
  const models = mkdtempSync(join(tmpdir(), "glassformer-models-"));
  execFileSync(python, ["-W", "ignore", "-c", MAKE_ADAPTER, `${repository}tests`, join(models, "mood")], {
    cwd: repository,
  });
  server = await startServer(["--model-dir", models]);
});

afterAll(async () => {
  await browser.close();
  await server.stop();
});

test("an adapter is switched on and off over the same text, and its A and B stand at the matrix they change", async () => {
  const { page, complaints, close } = await openPage(browser, server.url, { reducedMotion: true });
  await waitForRecording(page);
  const before = await readState(page, (state) => state.trace?.tokens.map((token) => token.id));
  const choice = (id: string) => page.locator(`[data-testid=adapter-choice][data-model-id="${id}"]`);
  expect(await choice("tales").getAttribute("aria-pressed")).toBe("true");
  // While it is opened the switch says why it waits, and keeps the focus of who pressed it.
  await page.route("**/load", async (route) => {
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    await route.continue();
  });
  await choice("tales+mood").click();
  await waitForState(page, (state) => state.opening !== null);
  expect(await choice("tales+mood").getAttribute("aria-disabled")).toBe("true");
  expect(await choice("tales").getAttribute("title")).toMatch(/still being opened/);
  // Forced, since it would else wait until it may be pressed.
  await choice("tales").click({ force: true });
  await choice("tales+mood").focus();
  await waitForState(page, (state) => state.anatomy?.model_id === "tales+mood" && state.opening === null);
  await waitForRecording(page);
  const after = await readState(page, (state) => ({
    tokens: state.trace?.tokens.map((token) => token.id),
    model: state.trace?.model_id,
    roles: state.anatomy?.blocks[0]?.weights.map((weight) => weight.role),
  }));
  expect(await choice("tales+mood").evaluate((element) => element === document.activeElement)).toBe(true);
  expect(after.model).toBe("tales+mood");
  expect(after.tokens).toEqual(before);
  expect(after.roles).toContain("lora_a");
  await page.waitForURL((url) => url.searchParams.get("model") === "tales+mood");
  expect(await choice("tales+mood").getAttribute("aria-pressed")).toBe("true");
  await choice("tales").click();
  await waitForState(page, (state) => state.trace?.model_id === "tales");
  expect(complaints).toEqual([]);
  await close();
});

/** What was given to the model, however that was said. */
const readGiven = (page: Page) =>
  readState(page, ({ trace, prompt, made }: AppState) => ({
    model: trace?.model_id,
    ids: trace?.tokens.slice(0, trace.prompt_count).map((token) => token.id),
    written: (trace?.tokens.length ?? 0) > (trace?.prompt_count ?? 0),
    changes: trace?.interventions,
    messages: made?.given.messages ?? trace?.messages,
    box: prompt,
  }));

async function record(request: object): Promise<string> {
  const body = JSON.stringify({ model_id: "tales", ...request });
  const headers = { "Content-Type": "application/json" };
  const made = await fetch(`${server.url}/api/traces`, { method: "POST", body, headers });
  return ((await made.json()) as { id: string }).id;
}

test.each([
  ["a text, with another one in the prompt box since", null],
  [
    "tokens that no text has, with an intervention",
    {
      token_ids: [5, 5, 6, 7, 7],
      max_new_tokens: 4,
      interventions: [{ address: "z.1", operation: "scale", value: 0.5, index: { head: [0] } }],
    },
  ],
  [
    "a conversation of somebody else",
    { messages: [{ role: "user", content: "Zoe has a key. Who has the key?" }], max_new_tokens: 4 },
  ],
])("with an adapter the same is given to the model: %s", async (_what, linked) => {
  const path = linked ? `/llm/?trace=${await record(linked)}` : "/llm/?model=tales&prompt=Mia+has+a+ball.";
  const { page, complaints, close } = await openPage(browser, server.url, { path, reducedMotion: true });
  await waitForRecording(page);
  await page.getByTestId("prompt").fill("Not sent yet.");
  const before = await readGiven(page);
  await page.locator('[data-testid=adapter-choice][data-model-id="tales+mood"]').click();
  await waitForState(page, (state) => state.trace?.model_id === "tales+mood");
  await waitForRecording(page);
  expect(await readGiven(page)).toEqual({ ...before, model: "tales+mood" });
  expect(complaints).toEqual([]);
  await close();
});
