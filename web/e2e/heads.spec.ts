import type { Page } from "playwright-core";
import { expect, inject, test } from "vitest";
import type { Heads } from "../src/protocol/schema.generated";
import { readState, waitForRecording, waitForState } from "./drive.ts";
import { sharePage } from "./sharePage.ts";

const PROMPT = "Mia has a red ball. Tom has a red cup. Mia has a red";
const opened = sharePage({ path: `/llm/?prompt=${encodeURIComponent(PROMPT)}`, reducedMotion: true });

/** What the server says of all heads, and of one head's pattern, [query, key]. */
async function askHeads(page: Page): Promise<Heads> {
  const id = await readState(page, (state) => state.trace?.id);
  return (await (await fetch(`${inject("serverUrl")}/api/traces/${id}/heads`)).json()) as Heads;
}

const largest = (heads: Heads, kind: "induction" | "previous") =>
  heads.blocks
    .flatMap(({ block, heads }) => heads.map((each) => ({ block, head: each.head, value: each[kind] ?? -1 })))
    .toSorted((one, other) => other.value - one.value);

test("H shows all heads, the strongest first, by keys and as a table", async () => {
  const { page } = opened();
  await waitForRecording(page);
  await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
  await page.keyboard.press("h");
  await waitForState(
    page,
    ({ heads, headPattern }) => heads.status === "ready" && headPattern.status === "ready",
  );
  const heads = await askHeads(page);
  expect(await readState(page, (state) => state.heads.value)).toEqual(heads);
  const [best] = largest(heads, "induction");
  const card = page.getByTestId("head-card");
  await card.getByText(`Head ${best?.head} of block ${best?.block}`, { exact: true }).waitFor();
  expect(await card.innerText()).toContain((best?.value ?? 0).toFixed(2));

  await page.getByTestId("heads-score-previous").click();
  const ranked = largest(heads, "previous");
  await page.getByRole("button", { name: "Table" }).click();
  const names = await page.getByTestId("heads-table").locator("tbody th").allInnerTexts();
  expect(names).toEqual(ranked.map(({ block, head }) => `${block}.${head}`));

  await page.getByRole("button", { name: "Grid" }).click();
  await page.getByTestId("heads-picture").focus();
  await page.keyboard.press("Home");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowRight");
  await waitForState(page, ({ shownHead }) => shownHead?.block === 1 && shownHead.head === 1);
  await page.keyboard.press("Enter");
  const selection = await readState(page, (state) => state.selection);
  expect(selection?.address).toBe("attn_probs.1");
  expect(selection?.index[0]).toBe(1);
  await page.keyboard.press("Escape");
  expect(await readState(page, (state) => [state.selection, state.panels.heads])).toEqual([null, true]);
});

test("a token tells whom it reads through a head, and who reads it", async () => {
  const { page } = opened();
  await waitForState(page, ({ headPattern }) => headPattern.status === "ready");
  const position = 6;
  await page.getByTestId("head-text").getByRole("button").nth(position).hover();
  const { pattern, tokens } = await readState(page, (state) => ({
    pattern: { ...state.headPattern.value, values: [...(state.headPattern.value?.values ?? [])] },
    tokens: state.trace?.tokens.map((token) => token.text) ?? [],
  }));
  // The server's own numbers, by another way: every cell of the row and the column.
  const id = await readState(page, (state) => state.trace?.id);
  const size = tokens.length;
  for (const [query, key] of [
    [position, 2],
    [size - 1, position],
  ] as const) {
    const index = `${pattern.head},${query},${key}`;
    const url = `${inject("serverUrl")}/api/traces/${id}/explain?address=attn_probs.${pattern.block}&index=${index}`;
    const { value } = (await (await fetch(url)).json()) as { value: number };
    expect(pattern.values[query * size + key]).toBeCloseTo(value, 6);
  }
  const row = pattern.values.slice(position * size, (position + 1) * size);
  const most = row.indexOf(Math.max(...row));
  const told = await page.locator(".head-reads dd").first().innerText();
  expect(told.replace(/^·/, "").startsWith(tokens[most]?.trim() ?? "?")).toBe(true);
  const column = pattern.values.filter((_, at) => at % size === position);
  const readers = column.filter((share, query) => query > position && share >= 0.05).length;
  expect(await page.locator(".head-reads dd").last().locator(".head-read").count()).toBe(
    Math.min(3, readers),
  );
});

test("a click on a head looks at it in the scene and in the inspector", async () => {
  const { page } = opened();
  const canvas = page.getByTestId("heads-picture").locator("canvas");
  await canvas.click({ position: { x: 60, y: 25 } });
  await waitForState(page, ({ selection }) => selection?.address === "attn_probs.0");
  await page.getByTestId("inspector").waitFor();
  const place = await readState(page, ({ shownHead, selection }) => [shownHead, selection?.index[0]]);
  expect(place).toEqual([{ block: 0, head: place[1] }, (place[0] as { head: number }).head]);
  await page.getByRole("button", { name: "Close the heads" }).click();
  expect(await readState(page, (state) => [state.headsWanted, state.shownHead])).toEqual([false, null]);
});
