import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { launchBrowser, type OpenOptions, openPage } from "./browser.ts";
import { compare, type Difference, isSame, shrink, shrinkForStore } from "./comparePictures.ts";
import { waitForFullPicture } from "./drive.ts";

/** `npm run pictures` stores them anew. */
const STORES = process.env.PICTURES === "store";
const FOLDER = fileURLToPath(new URL("pictures/", import.meta.url));
/** What was seen in place of a stored picture, to be looked at. */
const SEEN = fileURLToPath(new URL("../test-results/pictures/", import.meta.url));
/** Of all pictures together. */
const MOST_BYTES = 300_000;

/** A part of the page alone, in its pixels. */
interface Clip {
  x: number;
  y: number;
  width: number;
  height: number;
}
interface Given extends OpenOptions {
  /** The matrix that is come near to. */
  near?: string;
  clip?: Clip;
}

/** Small windows: what is stored stays small, and a tile of it holds much. */
const WINDOW = { width: 960, height: 600 };
const PICTURES: Record<string, Given> = {
  "tales-dark": { ...WINDOW, path: "/llm/?model=tales" },
  "tales-light": { ...WINDOW, path: "/llm/?model=tales", theme: "light" },
  "tales-phone": { path: "/llm/?model=tales", width: 390, height: 844 },
  "tales-near": {
    ...WINDOW,
    path: "/llm/?model=tales",
    near: "attn_probs.2",
    clip: { x: 440, y: 80, width: 400, height: 400 },
  },
  sorter: { ...WINDOW, path: "/llm/?model=sorter" },
};

/** What somebody could break without another test's notice: all of these must be told apart. */
const FAULTS: Record<string, string> = {
  "another hue": "#stage canvas { filter: hue-rotate(30deg) }",
  "a panel that is missing": "[data-testid=timeline] { visibility: hidden }",
  "text over text": "[data-testid=prompt] { line-height: 0.5 !important }",
};
/** What another processor, driver or browser draws otherwise, and nobody sees. */
const EQUALS: Record<string, string> = {
  "edges half a pixel aside": "body { transform: translate(0.4px, 0.4px) }",
  "smoother edges": "body { filter: blur(0.3px) }",
  "colours a shade aside": "body { filter: brightness(1.02) }",
};

let browser: Browser;
beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser.close());

async function open({ near, clip: _, ...options }: Given): Promise<Page> {
  const { page } = await openPage(browser, inject("serverUrl"), { ...options, reducedMotion: true });
  await waitForFullPicture(page);
  if (near) {
    await page.evaluate((address) => window.glassformer.scene.focus([address]), near);
    await waitForFullPicture(page);
  }
  return page;
}

function takePicture(page: Page, clip?: Clip): Promise<Buffer> {
  const options = { animations: "disabled", caret: "hide" } as const;
  return page.screenshot(clip ? { ...options, clip } : options);
}

function readStored(name: string): string {
  return readFileSync(`${FOLDER}${name}.png`).toString("base64");
}

function tell(name: string, { size, share, hue, at }: Difference): string {
  return size
    ? `${name}: another size`
    : `${name}: ${(100 * share).toFixed(1)} % of a tile, colour ${hue.toFixed(3)}, most at ${at.x},${at.y}; see ${SEEN}`;
}

test.each(Object.keys(PICTURES))("%s looks as it did", async (name) => {
  const given = PICTURES[name] ?? {};
  const page = await open(given);
  const taken = await takePicture(page, given.clip);
  const seen = await shrink(page, taken, 1);
  const folder = STORES ? FOLDER : SEEN;
  mkdirSync(folder, { recursive: true });
  const kept = STORES ? await shrinkForStore(page, taken) : seen;
  writeFileSync(`${folder}${name}.png`, Buffer.from(kept, "base64"));
  const difference = await compare(page, seen, readStored(name));
  expect(isSame(difference), tell(name, difference)).toBe(true);
  await page.context().close();
});

test("what somebody would see is told apart, and what nobody would is not", async () => {
  const page = await open(PICTURES["tales-dark"] ?? {});
  const before = await shrinkForStore(page, await takePicture(page));
  for (const [changes, expected] of [
    [EQUALS, true],
    [FAULTS, false],
  ] as const) {
    for (const [name, content] of Object.entries(changes)) {
      await restyle(page, [content]);
      const difference = await compare(page, before, await shrink(page, await takePicture(page), 1));
      await restyle(page, []);
      expect(isSame(difference), tell(name, difference)).toBe(expected);
    }
  }
  await page.context().close();
});

/** Rules over the page's own, as its policy lets no element bring them. */
function restyle(page: Page, sheets: string[]): Promise<void> {
  return page.evaluate((sheets) => {
    document.adoptedStyleSheets = sheets.map((rules) => {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(rules);
      return sheet;
    });
  }, sheets);
}

test("the stored pictures are small", () => {
  const bytes = Object.keys(PICTURES).map((name) => readFileSync(`${FOLDER}${name}.png`).length);
  expect(bytes.reduce((sum, each) => sum + each)).toBeLessThanOrEqual(MOST_BYTES);
});
