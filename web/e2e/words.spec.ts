import type { Page } from "playwright-core";
import { expect, inject, test } from "vitest";
import type { Distribution, TraceState } from "../src/protocol/schema.generated";
import { openPage } from "./browser.ts";
import { readState, waitForFullPicture, waitForState } from "./drive.ts";
import { sharePage } from "./sharePage.ts";

const PROMPT = "Mia has a ball. Tom has a cup.";
const WRITTEN = 12;

const opened = sharePage({
  path: `/llm/?${new URLSearchParams({ prompt: PROMPT, tokens: `${WRITTEN}`, temperature: "2.5", top_p: "1", seed: "4" })}`,
  reducedMotion: true,
});

interface Pair {
  word: string;
  position: number;
  best: string;
}

/** Every pair of heading and first row that the panel showed from now on, as a person sees it. */
async function watchPairs(page: Page): Promise<() => Promise<Pair[]>> {
  await page.evaluate(() => {
    const seen: Record<string, Pair> = {};
    Object.assign(window, { seenPairs: seen });
    const look = () => {
      const box = document.querySelector("[data-testid=distribution]");
      const heading = box?.querySelector(".distribution-heading .quiet")?.textContent ?? "";
      const word = box?.querySelector(".distribution-heading .token-text")?.textContent ?? "";
      const best = [...(box?.querySelectorAll("tbody tr") ?? [])].map((row) => row.textContent).join("|");
      const position = Number(/position (\d+)/.exec(heading)?.[1] ?? Number.NaN);
      if (word !== "") seen[`${word} ${position} ${best}`] = { word, position, best };
    };
    new MutationObserver(look).observe(document.body, {
      childList: true,
      subtree: true,
      characterData: true,
    });
    look();
  });
  return () =>
    page.evaluate(() => Object.values((window as unknown as { seenPairs: Record<string, Pair> }).seenPairs));
}

/** Answers to distributions wait so long, as on a slow machine. */
async function delayDistributions(page: Page, delayMs: number): Promise<() => Promise<void>> {
  const pattern = /\/distribution\?/;
  await page.route(pattern, async (route) => {
    const response = await route.fetch();
    await new Promise((resolve) => setTimeout(resolve, delayMs));
    await route.fulfill({ response });
  });
  // One that still waits is given up by Playwright, which answers it in its place.
  return () => page.unrouteAll({ behavior: "ignoreErrors" });
}

/** The rows as they would be shown for a position: what the server says, told apart by its numbers. */
async function probabilitiesOf(page: Page, position: number): Promise<string[]> {
  const { id, sampling } = await readState(page, (state) => ({
    id: state.trace?.id ?? "",
    sampling: state.sampling,
  }));
  const query = `pos=${position}&temperature=${sampling.temperature}&top_p=${sampling.top_p}`;
  const response = await fetch(`${inject("serverUrl")}/api/traces/${id}/distribution?${query}`);
  const found = (await response.json()) as Distribution;
  const likely = found.candidates.slice(0, 3).map(({ token }) => token.text.trim());
  // Spaces alone would be found in anything.
  return likely.filter((text) => text !== "");
}

async function expectTruth(page: Page, pairs: Pair[]): Promise<void> {
  const tokens = await readState(page, (state) => state.trace?.tokens ?? []);
  for (const { word, position, best } of pairs) {
    const plain = (text: string) => text.replaceAll("·", "").trim();
    expect(plain(word), `position ${position}`).toBe(plain(tokens[position]?.text ?? ""));
    for (const likely of await probabilitiesOf(page, position))
      expect(best, `position ${position}`).toContain(likely);
  }
}

test("heading and numbers are of one position, however late an answer comes", async () => {
  const { page } = opened();
  const readPairs = await watchPairs(page);
  const stopDelay = await delayDistributions(page, 600);
  const last = await readState(page, (state) => (state.trace?.positions ?? 0) - 1);
  for (const position of [2, 5, last - 1]) {
    await page.locator("[data-testid=timeline] button").nth(position).click();
    await page.waitForTimeout(150);
  }
  await waitForState(
    page,
    (state) => state.distribution.status === "ready" && state.distribution.value?.pos === state.position,
  );
  await stopDelay();
  const pairs = await readPairs();
  expect(new Set(pairs.map((pair) => pair.position)).size).toBeGreaterThan(1);
  await expectTruth(page, pairs);
});

test("while tokens are written the heading does not run ahead of the numbers", async () => {
  const { page } = opened();
  await page.evaluate(() => window.glassformer.store.setState({ position: null }));
  await waitForState(page, (state) => state.distribution.status === "ready");
  const readPairs = await watchPairs(page);
  const stopDelay = await delayDistributions(page, 300);
  await page.getByTestId("generate").click();
  await waitForState(page, (state) => state.activity === "generating");
  await waitForState(page, (state) => state.activity === "idle");
  await waitForState(page, (state) => state.distribution.status === "ready");
  await stopDelay();
  const pairs = await readPairs();
  expect(pairs.length).toBeGreaterThan(1);
  await expectTruth(page, pairs);
});

test("another prompt takes the numbers of the last one away", async () => {
  const { page } = opened();
  const stopDelay = await delayDistributions(page, 600);
  await page.getByTestId("prompt").fill("Lily has a red hat.");
  await page.getByTestId("run").click();
  await waitForState(
    page,
    (state) => state.tracePrompt === "Lily has a red hat." && (state.trace?.positions ?? 0) > 0,
  );
  // The text begins with the same special token alone: what followed any other is not to be seen under this one.
  const shown = await readState(page, (state) => {
    const { value } = state.distribution;
    return value && { of: value.traceId, now: state.trace?.id };
  });
  expect(shown === null || shown.of === shown.now).toBe(true);
  await waitForState(page, (state) => state.distribution.status === "ready");
  await stopDelay();
});

test("the distribution marks the word that stands there, also one that nobody would expect", async () => {
  const { page } = opened();
  const serverUrl = inject("serverUrl");
  const first = (await (
    await fetch(`${serverUrl}/api/traces`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({
        model_id: "tales",
        prompt: PROMPT,
        max_new_tokens: 1,
        sampling: { forced_token_ids: [777] },
      }),
    })
  ).json()) as TraceState;
  const linked = await openPage(page.context().browser() as never, serverUrl, {
    path: `/llm/?trace=${first.id}`,
    reducedMotion: true,
  });
  await waitForFullPicture(linked.page);
  const shown = await readState(linked.page, (state) => ({
    chosen: state.distribution.value?.chosen,
    place: state.distribution.value?.candidates.findIndex((each) => each.token.id === 777),
    rows: document.querySelector("[data-testid=distribution] tr[data-chosen]")?.textContent ?? "",
    text: state.trace?.tokens.at(-1)?.text ?? "",
  }));
  expect(shown.chosen).toBe(777);
  expect(shown.place).toBeGreaterThan(12);
  expect(shown.rows).toContain(shown.text.trim());
  expect(linked.complaints).toEqual([]);
  await linked.close();
});
