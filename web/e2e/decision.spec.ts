import type { Page } from "playwright-core";
import { expect, inject, test } from "vitest";
import type { Effects, Reading, Without } from "../src/protocol/schema.generated";
import { readState, waitForRest, waitForState } from "./drive.ts";
import { sharePage } from "./sharePage.ts";

const PROMPT =
  "Mia and Tom are in the garden. Mia has a new ball. She gives the ball to Tom. Who has the ball?";

const opened = sharePage({
  path: `/llm/?${new URLSearchParams({ model: "tales", prompt: PROMPT })}`,
  width: 1000,
  height: 700,
  reducedMotion: true,
});

const waitForEffects = (page: Page) =>
  waitForState(page, (state) => state.reading.status === "ready" && state.effects.status === "ready");

/** What the server says of the decision on screen. */
async function ask<T>(page: Page, kind: string, query: Record<string, string>): Promise<T> {
  const { traceId, position } = await readState(page, (state) => ({
    traceId: state.trace?.id ?? "",
    position: state.reading.value?.position ?? 0,
  }));
  const search = new URLSearchParams({ pos: `${position}`, ...query });
  const response = await fetch(`${inject("serverUrl")}/api/traces/${traceId}/${kind}?${search}`);
  expect(response.status).toBe(200);
  return (await response.json()) as T;
}

const sentence = (page: Page) => page.getByTestId("reading-sentence").innerText();
const percent = (probability: number) => Math.floor(probability * 1_000) / 10;

test("the sentence says what the server says, and claims no more than was tested", async () => {
  const { page } = opened();
  await waitForEffects(page);
  const reading = await ask<Reading>(page, "reading", { versus: "mean" });
  const effects = await ask<Effects>(page, "effects", { versus: "mean" });
  const said = await sentence(page);
  expect(said).toContain(`${reading.token.text.trim()}, `);
  expect(said).toContain(`${percent(reading.probability)} %`);

  const most = (kinds: string[]) =>
    effects.parts
      .filter((part) => kinds.includes(part.kind))
      .reduce((one, other) => (other.margin < one.margin ? other : one));
  const word = most(["token"]);
  expect(word.token.id).not.toBe(effects.base.token.id);
  const tokens = await readState(page, (state) => state.trace?.tokens ?? []);
  expect(said).toMatch(
    new RegExp(
      `If it could not read .*“${tokens[word.position ?? 0]?.text.trim()}” it would say “${word.token.text.trim()}”`,
    ),
  );
  // In this model nothing but a word of the text decides, and the page may say so only then.
  const parts = effects.parts.filter((part) => part.kind !== "token" && (part.block ?? 0) > 0);
  const decides = parts.some((part) => part.token.id !== effects.base.token.id);
  expect(decides).toBe(false);
  expect(said).toMatch(/no single part decides it/i);
  // Everything is asked for once: all that was tested is on the page.
  const shown = await readState(page, (state) => state.effects.value?.parts.length);
  expect(shown).toBe(effects.parts.length);
});

test("pressing a word hides it: the page shows the decision without it, says so, and puts it back", async () => {
  const { page } = opened();
  await page.getByTestId("reading-sentence").locator("button[data-part]").first().click();
  await waitForState(page, (state) => state.without.status === "ready");
  const off = await readState(page, (state) => state.off);
  const without = await ask<Without>(page, "without", { part: off[0] ?? "" });
  const best = without.tokens[0];
  expect(await page.getByTestId("without").innerText()).toContain(`“${best?.text.trim()}”`);
  expect(await readState(page, (state) => state.without.value?.probability)).toBe(without.probability);
  expect(await page.getByTestId("off").innerText()).toContain("hidden");
  await page.waitForFunction((part) => window.location.search.includes(`off=${part}`), off[0] ?? "");

  await page.getByTestId("off").getByRole("button").click();
  expect(await page.getByTestId("off").count()).toBe(0);
  expect(await readState(page, (state) => state.without.value)).toBe(null);
  await page.waitForFunction(() => !window.location.search.includes("off="));
});

test("why not another word: a bar holds the decision against it, the chosen one goes back", async () => {
  const { page } = opened();
  const rows = page.getByTestId("distribution").locator("tbody button[data-against]");
  const rival = Number(await rows.nth(1).getAttribute("data-against"));
  await rows.nth(1).click();
  await page.waitForFunction(
    (rival) => window.glassformer.store.getState().reading.value?.versus === rival,
    rival,
  );
  await waitForEffects(page);
  const reading = await ask<Reading>(page, "reading", { versus: `${rival}` });
  expect(await readState(page, (state) => state.reading.value?.logit)).toBeCloseTo(reading.logit, 4);
  expect(await sentence(page)).toContain("as likely as");
  await page.getByTestId("versus").waitFor();
  await rows.nth(0).click();
  await waitForState(page, (state) => state.reading.value?.versus === "mean");
  expect(await page.getByTestId("versus").count()).toBe(0);
});

test("the ride goes down the token's column by keys, with a sentence at each stop, and ends", async () => {
  const { page } = opened();
  await waitForEffects(page);
  await page.getByTestId("ride-start").focus();
  await page.keyboard.press("r");
  const ride = page.getByTestId("ride");
  await ride.waitFor();
  const said: string[] = [];
  const stops: (string | null)[] = [];
  for (let stop = 0; stop < 30 && stops.at(-1) !== "bar"; stop += 1) {
    if (stop > 0) await page.keyboard.press(stop % 2 ? "Space" : "ArrowRight");
    stops.push(await ride.getAttribute("data-stop"));
    said.push(await ride.locator("p").innerText());
  }
  expect(stops.slice(0, 2)).toEqual(["tile", "embedding"]);
  expect(stops).toContain("part");
  expect(stops.at(-1)).toBe("bar");
  expect(new Set(said).size).toBe(said.length);
  expect(said.at(-1)).toContain("because it could read");
  await page.keyboard.press("ArrowLeft");
  expect(await ride.getAttribute("data-stop")).toBe(stops.at(-2));
  await page.keyboard.press("Escape");
  await ride.waitFor({ state: "detached" });
  expect(await readState(page, (state) => state.ride)).toBe(null);
  await page.waitForFunction(() => document.activeElement?.id === "ride-start");
});

test("another position moves the reading over", async () => {
  const { page } = opened();
  await page.locator("[data-testid=timeline] button").nth(4).click();
  await waitForState(
    page,
    (state) => state.reading.value?.position === 4 && state.effects.status === "ready",
  );
  const reading = await ask<Reading>(page, "reading", { versus: "mean" });
  expect(await sentence(page)).toContain(reading.token.text.trim());
});

test("what is switched off moves neither the panel nor the picture, at any width", async () => {
  const { page } = opened();
  const before = page.viewportSize();
  for (const size of [
    { width: 1400, height: 900 },
    { width: 1000, height: 700 },
    { width: 390, height: 844 },
  ]) {
    await page.setViewportSize(size);
    await page.evaluate(() => window.glassformer.store.setState({ off: [], versus: "mean", ride: null }));
    await waitForEffects(page);
    await waitForRest(page);
    const box = () => page.getByTestId("reading").boundingBox();
    const steady = await box();
    for (const count of [1, 3]) {
      await page.evaluate((count) => {
        const off = ["token.3", "head.0.0", "mlp.1"].slice(0, count);
        window.glassformer.store.setState(({ reading }) => ({
          off,
          position: reading.value?.position ?? null,
        }));
      }, count);
      await waitForState(page, (state) => state.without.status === "ready");
      expect(await box()).toEqual(steady);
    }
  }
  await page.evaluate(() => window.glassformer.store.setState({ off: [] }));
  if (before) await page.setViewportSize(before);
});
