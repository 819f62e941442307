import { expect, inject, test } from "vitest";
import type { TraceState } from "../src/protocol/schema.generated";
import { readState, readStats, runPrompt, waitForFullPicture, waitForState, watchTokens } from "./drive.ts";
import { sharePage } from "./sharePage.ts";

const NEW_TOKENS = 200;
const NEVER = 1_000_000;

// Hot sampling, many tokens, and a seed that draws no end among them: a run that does not end by itself before it is
// stopped.
const query = `?model=tales&prompt=Mia+has+a+ball.&tokens=${NEW_TOKENS}&temperature=3&top_p=1&seed=8`;
const opened = sharePage({ path: `/llm/${query}`, reducedMotion: true });

test("Generate streams tokens into the page, and the scene grows with them", async () => {
  const { page } = opened();
  const framesBefore = (await readStats(page)).frames;
  const readCounts = await watchTokens(page, NEVER);
  await page.getByTestId("generate").click();
  await waitForState(page, (state) => state.activity === "generating");
  await waitForFullPicture(page);

  const counts = await readCounts();
  // How many pictures there are between the first token and the last is up to the machine.
  expect(counts.length).toBeGreaterThan(1);
  expect(counts).toEqual([...counts].sort((a, b) => a - b));
  const shown = await readState(page, (state) => ({
    status: state.trace?.status,
    tokens: state.trace?.tokens.length ?? 0,
    timeline: document.querySelectorAll("[data-testid=timeline] button").length,
  }));
  expect(shown.status).toBe("done");
  expect(shown.tokens).toBeGreaterThan(NEW_TOKENS);
  expect(shown.timeline).toBeGreaterThanOrEqual(shown.tokens);
  expect((await readStats(page)).frames).toBeGreaterThan(framesBefore);
});

test("Stop stops within a step, keeps what was recorded, and the next prompt runs", async () => {
  const { page } = opened();
  await watchTokens(page, 3);
  const stopped = page.waitForResponse((response) => response.url().endsWith("/stop"));
  await page.getByTestId("generate").click();
  const atStop = (await (await stopped).json()) as TraceState;
  await waitForState(page, (state) => state.activity === "idle");

  const end = (await (await fetch(`${inject("serverUrl")}/api/traces/${atStop.id}`)).json()) as TraceState;
  expect(end.status).toBe("stopped");
  expect(end.finish_reason).toBe("cancelled");
  expect(end.tokens.length - atStop.tokens.length).toBeLessThanOrEqual(1);
  expect(end.tokens.length - end.prompt_count).toBeLessThan(NEW_TOKENS);
  const shown = await readState(page, (state) => ({
    tokens: state.trace?.tokens.length,
    positions: state.trace?.positions,
  }));
  expect(shown).toEqual({ tokens: end.tokens.length, positions: end.positions });

  await runPrompt(page, "Tom has a cup.");
  expect(await readState(page, (state) => state.runError)).toBeNull();
});
