import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { readState, waitForState } from "./drive.ts";
import { python, repository } from "./server.ts";
import { sharePage } from "./sharePage.ts";

const opened = sharePage({
  path: "/llm/?model=tales&prompt=Mia+has+a+ball.&tokens=6&temperature=0.8&drawn=3&cell=attn_probs.2:1,5,3",
  reducedMotion: true,
});

/** Saves one file and reads it. */
async function save(page: Page, kind: string): Promise<{ name: string; content: Buffer }> {
  if ((await page.getByTestId("save-list").count()) === 0) await page.getByTestId("save-toggle").click();
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByTestId(`save-${kind}`).click(),
  ]);
  return { name: download.suggestedFilename(), content: readFileSync(await download.path()) };
}

test("the picture, the heat map and the matrix on screen are saved as files that other programs read", async () => {
  const { page } = opened();
  await waitForState(page, (state) => state.inspected.status === "ready" && state.trace?.status === "done");
  // One head of the pattern, as the inspector reads it.
  const shown = await readState(page, ({ inspected, trace, anatomy }) => ({
    values: Array.from(inspected.value?.values ?? []),
    tokens: trace?.tokens.length ?? 0,
    heads: anatomy?.blocks[2]?.sites.find((site) => site.point === "attn_probs")?.shape[0] ?? 0,
  }));

  const png = await save(page, "png");
  expect(png.name).toBe("tales.png");
  const size = [png.content.readUInt32BE(16), png.content.readUInt32BE(20)];
  expect(size).toEqual([2 * 1400, 2 * 900]);
  expect(png.content.length).toBeGreaterThan(50_000);

  const svg = (await save(page, "svg")).content.toString();
  const cells = await page.evaluate((text) => {
    const parsed = new DOMParser().parseFromString(text, "image/svg+xml");
    return parsed.querySelector("parsererror") ? -1 : parsed.querySelectorAll("rect > title").length;
  }, svg);
  expect(cells).toBe(shown.tokens ** 2);

  const csv = (await save(page, "csv")).content
    .toString()
    .trim()
    .split("\n")
    .map((line) => line.split(","));
  expect(csv[0]?.[0]).toBe("query\\key");
  const numbers = csv.slice(1).flatMap((line) => line.slice(1).map((text) => Math.fround(Number(text))));
  expect(numbers).toEqual(shown.values);

  const npy = (await save(page, "npy")).content;
  const shape = [shown.heads, shown.tokens, shown.tokens];
  expect(npy.toString("latin1")).toContain(`'shape': (${shape.join(", ")})`);
  // Of the whole tensor, in which the shown head is the second.
  const numbersFrom = npy.length - 4 * shown.heads * shown.tokens ** 2 + 4 * shown.tokens ** 2;
  expect(npy.readFloatLE(numbersFrom)).toBe(shown.values[0]);
  expect(npy.readFloatLE(numbersFrom + 4 * (5 * shown.tokens + 3))).toBe(shown.values[5 * shown.tokens + 3]);
});

test("the program that is copied makes the same text and the same cell", async () => {
  const { page } = opened();
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  if ((await page.getByTestId("save-list").count()) === 0) await page.getByTestId("save-toggle").click();
  await page.getByTestId("save-python").click();
  await page.getByTestId("save-python").getByText("Copied").waitFor();
  const program = await page.evaluate(() => navigator.clipboard.readText());
  const told = execFileSync(python, ["-c", program], { cwd: repository, encoding: "utf8", timeout: 100_000 });
  const shown = await readState(page, ({ inspected, trace }) => ({
    cell: inspected.value?.values[5 * (trace?.tokens.length ?? 0) + 3] ?? 0,
    text: (trace?.tokens ?? [])
      .filter((token) => !token.special)
      .map((token) => token.text)
      .join(""),
  }));
  expect(told.startsWith(shown.text)).toBe(true);
  const printed = told
    .split("\n")
    .map(Number)
    .find((value) => value > 0 && value < 1);
  expect(printed).toBeCloseTo(shown.cell, 5);
});
