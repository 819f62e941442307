import { execFileSync } from "node:child_process";
import {
  cpSync,
  createReadStream,
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import type { Explanation } from "../src/protocol/schema.generated";
import { launchBrowser, openPage, type WatchedPage } from "./browser.ts";
import { comeNear, readCanvasPixels, readState, waitForFullPicture, waitForState } from "./drive.ts";
import { askTransformers } from "./reference.ts";
import { glassformer } from "./server.ts";

const PROMPT = "Mia has a red ball. Mia gives the ball to Tom.";
/** What the bundled sorter reads. */
const LETTERS = "CBABBC";
const NEW_TOKENS = 4;
/** Somewhere below the root of a host that knows nothing of the page. */
const FOLDER = "somewhere/below/story";

const TYPES: Record<string, string> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
  ".woff2": "font/woff2",
  ".wasm": "application/wasm",
};

/** Shares of the canvas, across and down, down the middle of the scene: the stream stands there. */
const HOVERED = [0.3, 0.36, 0.42, 0.48, 0.54, 0.6].flatMap((down) =>
  [0.6, 0.62, 0.64, 0.58, 0.66].map((across) => [across, down] as const),
);

let site: string;
let server: Server;
let browser: Browser;
let address: string;
/** The export as it was written, open for the tests that look around in it: each opening takes seconds. */
let shared: Exported;

/** An opened export with every address it asked for. */
type Exported = WatchedPage & { asked: string[] };

/** A host of plain files: no rewriting, no index of folders, no compression. */
function serveFiles(root: string): Server {
  return createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url ?? "", "http://host").pathname));
    const file = join(root, path.endsWith("/") ? `${path}index.html` : path);
    if (!existsSync(file) || !statSync(file).isFile()) response.writeHead(404).end();
    else {
      response.writeHead(200, { "Content-Type": TYPES[extname(file)] ?? "application/octet-stream" });
      createReadStream(file).pipe(response);
    }
  });
}

beforeAll(async () => {
  site = mkdtempSync(join(tmpdir(), "glassformer-"));
  exportInto(FOLDER, "tales", PROMPT);
  server = serveFiles(site);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  browser = await launchBrowser();
  shared = await openExported(FOLDER);
  await waitForFullPicture(shared.page);
});
afterAll(async () => {
  await browser.close();
  server.close();
  rmSync(site, { recursive: true });
});

function exportInto(folder: string, model: string, prompt: string): void {
  const options = ["--max-new-tokens", String(NEW_TOKENS), "--out", join(site, folder)];
  execFileSync(glassformer, ["export", model, prompt, ...options], {
    env: { ...process.env, HF_HUB_OFFLINE: "1" },
  });
}

async function openExported(folder: string, query = ""): Promise<Exported> {
  const asked: string[] = [];
  const opened = await openPage(browser, address, {
    path: `/${folder}/${query}`,
    reducedMotion: true,
    onRequest: (url) => asked.push(url),
  });
  return { ...opened, asked };
}

test("opens from a folder of plain files, shows what the model computed, and asks for nothing else", async () => {
  const { page, asked, complaints } = shared;
  const pixels = await readCanvasPixels(page);
  expect(pixels.drawnShare).toBeGreaterThan(0.05);
  expect(pixels.distinctColors).toBeGreaterThan(1_000);

  const cells = [
    { address: "attn_probs.2", index: [0, 9, 3] },
    { address: "mlp_act.1", index: [5, 12] },
    { address: "resid_post.1", index: [10, 3] },
    { address: "lm_head", index: [10, 40] },
    { address: "model.layers.1.mlp.up_proj.weight", index: [7, 5] },
  ];
  const hovered = await hoverCell(page);
  const asking = { model: "tales", prompt: PROMPT, newTokens: NEW_TOKENS };
  const truth = askTransformers({ ...asking, cells: [...cells, hovered.cell] });
  expect(hovered.value, hovered.cell.address).toBeCloseTo(truth.values.at(-1) ?? Number.NaN, 4);
  for (const [at, cell] of cells.entries()) {
    expect(await readInspected(page, cell), cell.address).toBeCloseTo(truth.values[at] ?? Number.NaN, 4);
    expect(await countHeatMapColors(page), cell.address).toBeGreaterThan(20);
  }
  const ids = await readState(page, (state) => state.trace?.tokens.map((token) => token.id) ?? []);
  expect(ids).toEqual([...truth.token_ids, ...truth.greedy_ids]);

  expect(asked.filter((url) => !url.startsWith(`${address}/${FOLDER}/`))).toEqual([]);
  expect(complaints).toEqual([]);
});

test("what mattered for a word is shown as it was tested, where the model wrote", async () => {
  const { page } = shared;
  const written = await readState(page, (state) => state.trace?.prompt_count ?? 0);
  await page.evaluate((at) => window.glassformer.store.setState({ position: at }), written - 1);
  await waitForState(page, (state) => state.reading.status === "ready" && state.effects.status === "ready");
  const { reading, effects, words } = await readState(page, (state) => ({
    reading: state.reading.value,
    effects: state.effects.value,
    words: state.trace?.tokens.map((token) => token.text) ?? [],
  }));
  expect(reading?.token.text).toBe(words[written]);
  const sum = (reading?.parts ?? []).reduce((total, part) => total + part.value, reading?.remainder ?? 0);
  expect(sum).toBeCloseTo(reading?.logit ?? Number.NaN, 4);
  expect(effects?.base.probability).toBeCloseTo(reading?.probability ?? Number.NaN, 4);
  expect(await page.getByTestId("reading-sentence").innerText()).toContain(words[written]?.trim());
  expect(await readState(page, (state) => state.lit)).toBe("worth");
  // Of the text that it was given there is none: nothing was written there.
  await page.evaluate(() => window.glassformer.store.setState({ position: 1 }));
  await waitForState(page, (state) => state.reading.status === "empty");
  expect(await page.getByTestId("reading-sentence").count()).toBe(0);
});

test("all heads at a glance are told as by a server, and each shows its pattern", async () => {
  const { page } = shared;
  const blocks = await readState(page, (state) => state.anatomy?.blocks.map(({ heads }) => heads) ?? []);
  await page.evaluate(() => {
    const { store } = window.glassformer;
    store.setState({ headsWanted: true, shownHead: { block: 1, head: 2 } });
  });
  await waitForState(
    page,
    ({ heads, headPattern }) => heads.status === "ready" && headPattern.status === "ready",
  );
  const { heads, pattern } = await readState(page, (state) => ({
    heads: state.heads.value,
    pattern: state.headPattern.value && {
      ...state.headPattern.value,
      values: [...state.headPattern.value.values],
    },
  }));
  expect(heads?.blocks.map((each) => each.heads.length)).toEqual(blocks);
  if (!pattern || !heads) throw new Error("there is a pattern");
  const size = pattern.stop - pattern.start;
  const first = Array.from({ length: size }, (_, row) => pattern.values[row * size] ?? 0);
  // Position 0 reads itself alone, which is no choice.
  const mean = first.slice(1).reduce((sum, each) => sum + each, 0) / (size - 1);
  expect(heads.blocks[1]?.heads[2]?.first).toBeCloseTo(mean, 4);
  await page.evaluate(() => window.glassformer.store.setState({ headsWanted: false, shownHead: null }));
});

test("every position tells what could come next, and nothing is offered that needs a server", async () => {
  const { page, complaints } = shared;
  const tokens = page.getByTestId("timeline").getByRole("button");
  const count = await tokens.count();
  for (const position of [0, 5, count - 1]) {
    await page.evaluate((position) => window.glassformer.store.setState({ position }), position);
    await page.waitForFunction(
      (position) => window.glassformer.store.getState().distribution.value?.pos === position,
      position,
    );
  }
  const chosen = await readState(page, (state) => state.distribution.value?.candidates[0]?.token.text);
  await page
    .getByText(chosen?.trim() ?? "", { exact: false })
    .first()
    .waitFor();
  for (const absent of ["run", "generate", "stop", "model-picker"]) {
    expect(await page.getByTestId(absent).count(), absent).toBe(0);
  }
  expect(await page.getByTestId("temperature").isDisabled()).toBe(true);
  await page.keyboard.press("ControlOrMeta+Enter");
  expect(await readState(page, (state) => state.activity)).toBe("idle");
  expect(complaints).toEqual([]);
});

test("how a cell was computed is computed here, as a server tells it", async () => {
  await compareExplanations(shared, "tales", PROMPT);
});

test("one file opens from a disk, with the same numbers, and asks for nothing", async () => {
  const file = join(site, "story.html");
  exportInto("story.html", "tales", "Tom has a ball.");
  const asked: string[] = [];
  const opened = await openPage(browser, "file://", {
    path: file,
    reducedMotion: true,
    onRequest: (url) => asked.push(url),
  });
  const { page, complaints } = opened;
  await waitForFullPicture(page);
  expect((await readCanvasPixels(page)).drawnShare).toBeGreaterThan(0.05);
  const cells = [
    { address: "attn_probs.1", index: [0, 4, 2] },
    { address: "resid_post.0", index: [5, 3] },
  ];
  const truth = askTransformers({ model: "tales", prompt: "Tom has a ball.", newTokens: NEW_TOKENS, cells });
  for (const [at, cell] of cells.entries())
    expect(await readInspected(page, cell), cell.address).toBeCloseTo(truth.values[at] ?? Number.NaN, 4);
  await page.getByTestId("reading-sentence").waitFor();
  expect(asked.filter((url) => !url.startsWith("data:") && !url.startsWith("blob:"))).toEqual([
    `file://${file}`,
  ]);
  expect(complaints).toEqual([]);
  await opened.close();
});

test("so is it for layer norms, biases and learned positions", async () => {
  const folder = "letters";
  exportInto(folder, "sorter", LETTERS);
  const exported = await openExported(folder);
  await waitForFullPicture(exported.page);
  await compareExplanations(exported, "sorter", LETTERS);
  await exported.close();
});

/** Holds the explanations that the page makes of an export's files against those of a server, for every kind of site. */
async function compareExplanations(exported: Exported, model: string, prompt: string): Promise<void> {
  const serverUrl = inject("serverUrl");
  const body = {
    model_id: model,
    prompt,
    max_new_tokens: NEW_TOKENS,
    sampling: { temperature: 0 },
  };
  const asked = await fetch(`${serverUrl}/api/traces`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const { id } = (await asked.json()) as { id: string };
  await (await fetch(`${serverUrl}/api/traces/${id}/events`)).text();

  const { page, complaints } = exported;
  const sites = await readState(page, (state) => {
    const { anatomy } = state;
    const all = anatomy ? [...anatomy.before, ...(anatomy.blocks[1]?.sites ?? []), ...anatomy.after] : [];
    return all.map(({ address, axes }) => ({ address, axes }));
  });
  expect(sites.length).toBeGreaterThan(15);
  const places: Record<string, number> = { head: 1, kv_head: 1, pos: 5, query: 5, key: 3, vocab: 2 };
  for (const { address, axes } of sites) {
    const index = axes.map((axis) => places[axis] ?? 11);
    const url = `${serverUrl}/api/traces/${id}/explain?address=${address}&index=${index.join(",")}`;
    const told = (await (await fetch(url)).json()) as Explanation;
    await page.evaluate((selection) => window.glassformer.store.setState({ selection }), { address, index });
    await waitForState(
      page,
      (state) =>
        state.explanation.status === "failed" ||
        (state.explanation.status === "ready" &&
          state.explanation.value?.address === state.selection?.address),
    );
    const { value: own, error } = await readState(page, (state) => state.explanation);
    expect(error, address).toBeNull();
    expect(own?.recomputed, address).toBeCloseTo(told.recomputed ?? Number.NaN, 4);
    expect(own?.difference ?? 1, address).toBeLessThan(1e-4);
    expect([own?.terms.length, own?.rest_count, own?.note], address).toEqual([
      told.terms.length,
      told.rest_count,
      told.note,
    ]);
    for (const [at, term] of told.terms.entries()) {
      expect(own?.terms[at]?.contribution, `${address} ${term.label}`).toBeCloseTo(
        term.contribution ?? Number.NaN,
        4,
      );
      // The same sum, number by number; the numbers differ by the rounding of float32 files.
      expect(shapeOf(own?.terms[at]?.formula), `${address} ${term.label}`).toBe(shapeOf(term.formula));
    }
    expect(shapeOf(own?.result), address).toBe(shapeOf(told.result));
    const named = (terms: Explanation["terms"] = []) =>
      terms
        .flatMap(({ label, operands }) => operands.map(({ name, index }) => `${label} ${name} ${index}`))
        .sort();
    expect(named(own?.terms.slice(0, 1)), address).toEqual(named(told.terms.slice(0, 1)));
  }
  expect(complaints).toEqual([]);
}

test("a link into an export opens the cell it names", async () => {
  const { page, close } = await openExported(FOLDER, "?position=3&cell=mlp_act.1:5,12");
  await waitForState(page, (state) => state.inspected.status === "ready");
  expect(await readState(page, (state) => [state.selection?.address, state.position])).toEqual([
    "mlp_act.1",
    3,
  ]);
  await close();
});

test.each([
  ["no recording", "data/recording.json", null],
  ["half a recording", "data/recording.json", '{"recording": {"tok'],
  ["something else in its place", "data/anatomy.json", "{}"],
  ["no store", "data/recording.zarr/zarr.json", null],
  ["a store that is no JSON", "data/recording.zarr/zarr.json", "oh"],
  ["half a chunk", "data/recording.zarr/resid_post.0/0/c/0/0", "1234"],
])("a damaged export is told in one sentence: %s", async (_, path, content) => {
  const folder = `${FOLDER}-damaged`;
  cpSync(join(site, FOLDER), join(site, folder), { recursive: true });
  const file = join(site, folder, path);
  if (content === null) rmSync(file);
  else writeFileSync(file, content);
  const { page, close, complaints } = await openExported(folder);
  // Matrices are asked for near by only, so a store is found out there.
  await page.waitForFunction(
    () => {
      window.glassformer?.scene.focus(["resid_post.0"]);
      return document.querySelector("[role=alert]") !== null;
    },
    undefined,
    { polling: 300 },
  );
  await page.waitForTimeout(500);
  expect(await page.getByRole("alert").count()).toBe(1);
  expect(await page.getByRole("alert").innerText()).toMatch(/not whole: .*\. Export it again/);
  expect(complaints.filter((complaint) => complaint.startsWith("uncaught"))).toEqual([]);
  await close();
  rmSync(join(site, folder), { recursive: true });
});

test("the export holds no compressed copies and nothing hidden", () => {
  const files = readdirSync(join(site, FOLDER), { recursive: true, encoding: "utf8" });
  expect(files.filter((file) => /\.(br|gz)$|(^|\/)\./.test(file))).toEqual([]);
});

/** A formula without its numbers. */
function shapeOf(formula: unknown): string {
  return JSON.stringify(formula, (key, value) => (key === "value" ? undefined : value));
}

async function readInspected(page: Page, cell: { address: string; index: number[] }): Promise<number> {
  await page.evaluate((selection) => window.glassformer.store.setState({ selection }), cell);
  await waitForState(page, (state) => state.inspected.value?.address === state.selection?.address);
  const value = page.getByTestId("inspector-value");
  await value.getByText(/\d/).waitFor();
  return Number(await value.getAttribute("data-value"));
}

/** Moves the pointer over the scene until it is on a cell of a site, and reads what the page says of it. */
async function hoverCell(page: Page): Promise<{ cell: { address: string; index: number[] }; value: number }> {
  const box = await page.locator("canvas").first().boundingBox();
  if (!box) throw new Error("no canvas");
  await comeNear(page, { x: box.x + box.width * 0.62, y: box.y + box.height * 0.45 });
  await waitForFullPicture(page);
  for (const [across, down] of HOVERED) {
    await page.mouse.move(box.x + box.width * across, box.y + box.height * down);
    const pointed = await page.evaluate(async () => {
      // The scene looks under the pointer with its next frame.
      await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
      const { hover, anatomy } = window.glassformer.store.getState();
      const blocks = anatomy?.blocks.flatMap((block) => block.sites) ?? [];
      return blocks.some((site) => site.address === hover?.cell.address);
    });
    if (!pointed) continue;
    await waitForState(page, (state) => state.hover !== null && state.hover.value !== null);
    const { cell, value } = await readState(page, (state) => ({
      cell: state.hover?.cell ?? { address: "", index: [] },
      value: state.hover?.value ?? Number.NaN,
    }));
    expect(await page.getByTestId("hover").innerText()).toContain(cell.address);
    return { cell: { address: cell.address, index: [...cell.index] }, value };
  }
  throw new Error("the pointer met no cell");
}

/** How many colours the inspector's picture of the matrix has. */
function countHeatMapColors(page: Page): Promise<number> {
  return page.evaluate(() => {
    const canvas = document.querySelector<HTMLCanvasElement>("[data-testid=inspector-heatmap] canvas");
    const context = canvas?.getContext("2d");
    if (!canvas || !context) return 0;
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    return new Set(new Uint32Array(data.buffer)).size;
  });
}
