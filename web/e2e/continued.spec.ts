import { execFileSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { decodeFrame } from "../src/protocol/LiveFrame.ts";
import { launchBrowser, openPage, type WatchedPage } from "./browser.ts";
import { comeNear, readState, waitForFullPicture, waitForState } from "./drive.ts";
import { python, type RunningServer, repository, startServer } from "./server.ts";

const CHUNK_ROWS = 64;
const STORY = "Mia and Tom are in the garden. Mia has a new ball. She gives the ball to Tom. ";

/** Twelve blocks of eight heads, 96 wide: ten times what `tales` shows. */
const MAKE_MODEL = `
import sys
sys.path.insert(0, sys.argv[1])
from tiny import make_model
make_model(sys.argv[2], "llama", hidden_size=96, intermediate_size=256, num_hidden_layers=12,
           num_attention_heads=8, num_key_value_heads=4)
`;

let browser: Browser;
let large: RunningServer;

beforeAll(async () => {
  browser = await launchBrowser();
  const models = mkdtempSync(join(tmpdir(), "glassformer-models-"));
  execFileSync(python, ["-W", "ignore", "-c", MAKE_MODEL, `${repository}tests`, join(models, "large")], {
    cwd: repository,
  });
  large = await startServer(["--model-dir", models]);
});

afterAll(async () => {
  await browser.close();
  await large.stop();
});

/** Every row of every site that came to the page, by whichever way, as often as it came. */
class Ledger {
  readonly #counts = new Map<string, number>();
  readonly #page: Page;
  /** Positions that the store had when its chunks were read. */
  positions = 0;

  constructor(page: Page) {
    this.#page = page;
  }

  watch(): void {
    // Finished ones: what the page has given up, as when the camera moves on, has not come.
    this.#page.on("requestfinished", (request) => {
      const url = new URL(request.url());
      const chunk = /\/api\/traces\/[^/]+\/zarr\/([^/]+)\/(\d+)\/c\/(.+)$/.exec(url.pathname);
      if (chunk) {
        const place = (chunk[3] ?? "").split("/").map(Number);
        // A chunk beside the first has the same rows: count them once.
        if (place.at(-1) !== 0) return;
        const level = Number(chunk[2]);
        const first = (place.at(-2) ?? 0) * CHUNK_ROWS;
        const rows = Math.ceil(this.positions / 2 ** level);
        // A head's chunk has its own rows.
        const head = place.length > 2 ? `#${place[0]}` : "";
        this.#add(`${chunk[1]}${head}`, level, first, Math.min(rows, first + CHUNK_ROWS));
      } else if (url.pathname.endsWith("/rows")) {
        const [start, stop, level] = ["start", "stop", "level"].map((name) =>
          Number(url.searchParams.get(name)),
        );
        const scale = 2 ** (level ?? 0);
        for (const address of url.searchParams.getAll("address")) {
          this.#add(address, level ?? 0, Math.floor((start ?? 0) / scale), Math.ceil((stop ?? 0) / scale));
        }
      } else return;
    });
    this.#page.on("websocket", (socket) =>
      socket.on("framereceived", ({ payload }) => {
        if (typeof payload === "string") return;
        const { start, stop, arrays } = decodeFrame(new Uint8Array(payload).buffer);
        for (const { address } of arrays) this.#add(address, 0, start, stop);
      }),
    );
  }

  #add(address: string, level: number, start: number, stop: number): void {
    for (let row = start; row < stop; row += 1) {
      const key = `${address} ${level} ${row}`;
      this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    }
  }

  /** Rows that came more than once, but for those that `isExcused` by address, level and row. */
  repeated(isExcused: (level: number, row: number) => boolean): string[] {
    return [...this.#counts]
      .filter(([, count]) => count > 1)
      .map(([key]) => key)
      .filter((key) => {
        const [, level, row] = key.split(" ");
        return !isExcused(Number(level), Number(row));
      });
  }

  /** How many rows came. */
  get rows(): number {
    return this.#counts.size;
  }

  get levels(): Set<number> {
    return new Set([...this.#counts.keys()].map((key) => Number(key.split(" ")[1])));
  }
}

/** The least number of tensors with values, from now until the function that is returned is called. */
async function watchDarkness(page: Page): Promise<() => Promise<number>> {
  await page.evaluate(() => {
    const { scene } = window.glassformer;
    const watch = { least: scene.stats().tensors };
    const look = () => {
      watch.least = Math.min(watch.least, scene.stats().tensors);
      requestAnimationFrame(look);
    };
    Object.assign(window, { darkness: watch });
    window.glassformer.store.subscribe(() => {
      watch.least = Math.min(watch.least, scene.stats().tensors);
    });
    look();
  });
  return () => page.evaluate(() => (window as unknown as { darkness: { least: number } }).darkness.least);
}

async function generate(page: Page): Promise<void> {
  const before = await readState(page, (state) => state.trace?.id ?? "");
  await page.getByTestId("generate").click();
  await page.waitForFunction((id) => {
    const { activity, trace } = window.glassformer.store.getState();
    return activity === "idle" && trace !== null && trace.id !== id;
  }, before);
  await waitForFullPicture(page);
}

/** Every value that the scene can name is the server's own. */
async function expectTruth(page: Page, url: string): Promise<void> {
  const { id, positions, count } = await readState(page, (state) => ({
    id: state.trace?.id ?? "",
    positions: state.trace?.positions ?? 0,
    count: state.trace?.prompt_count ?? 0,
  }));
  for (const address of ["resid_post.1", "q.0", "attn_probs.1", "mlp_act.0"]) {
    for (const row of new Set([0, count - 2, count - 1, Math.min(count, positions - 1), positions - 1])) {
      const index = /^(q|attn)/.test(address) ? [1, row, 1] : [row, 1];
      const cell = { address, index };
      await page.evaluate((selection) => window.glassformer.store.setState({ selection }), cell);
      await waitForState(
        page,
        (state) => state.inspected.status === "ready" && state.inspected.value !== null,
      );
      const shown = await page.evaluate(({ address, index }) => {
        const { inspected } = window.glassformer.store.getState();
        const matrix = inspected.value;
        if (matrix?.address !== address || matrix.level !== 0) return null;
        // Of a head that was read alone, the first index is its own.
        const own = matrix.lead === undefined ? index : [0, ...index.slice(1)];
        return (
          matrix.values[own.reduce((at, each, axis) => at * (matrix.shape[axis] ?? 1) + each, 0)] ?? null
        );
      }, cell);
      const answer = await fetch(
        `${url}/api/traces/${id}/explain?address=${address}&index=${index.join(",")}`,
      );
      const { value } = (await answer.json()) as { value: number };
      expect(shown, `${address} ${index}`).toBeCloseTo(value, 4);
    }
  }
}

async function open(
  url: string,
  query: Record<string, string>,
): Promise<{ opened: WatchedPage; ledger: Ledger }> {
  // Somewhere else first, so that all that comes to the page is counted.
  const opened = await openPage(browser, url, { path: "/health", reducedMotion: true });
  const { page } = opened;
  const ledger = new Ledger(page);
  ledger.watch();
  await page.goto(`${url}/llm/?${new URLSearchParams(query)}`);
  await waitForState(page, (state) => (state.trace?.positions ?? 0) > 0);
  ledger.positions = await readState(page, (state) => state.trace?.positions ?? 0);
  await comeNear(page, { x: 850, y: 420 });
  await waitForFullPicture(page);
  return { opened, ledger };
}

const CASES = [
  { name: "tales", model: "tales", repeats: 1, tokens: 24, isPooled: false },
  {
    name: "tales with a long prompt, whose patterns are pooled",
    model: "tales",
    repeats: 7,
    tokens: 40,
    isPooled: true,
  },
  { name: "a larger model", model: "large", repeats: 1, tokens: 12, isPooled: false },
];

test.each(CASES)("Generate goes on from what is shown of $name: nothing twice, never dark", async (given) => {
  const url = given.model === "large" ? large.url : inject("serverUrl");
  const query = {
    model: given.model,
    prompt: STORY.repeat(given.repeats).trim(),
    tokens: `${given.tokens}`,
    temperature: "3",
    top_p: "1",
    seed: "8",
  };
  const { opened, ledger } = await open(url, query);
  const { page } = opened;
  const count = ledger.positions;
  const previewRows = ledger.rows;
  expect(previewRows).toBeGreaterThan(500);
  expect(ledger.levels.size > 1).toBe(given.isPooled);
  const filled = await page.evaluate(() => window.glassformer.scene.stats().tensors);

  const readLeast = await watchDarkness(page);
  await generate(page);
  expect(await readLeast()).toBe(filled);
  const after = await readState(page, ({ trace }) => ({
    positions: trace?.positions ?? 0,
    adopted: trace?.adopted,
  }));
  expect(after.positions).toBeGreaterThan(count);
  expect(after.adopted?.[0]?.positions).toBe(count - 1);
  // The last token of the prompt was read again, and a pool that has grown is another one.
  expect(ledger.repeated((level, row) => row >= (count - 1) >> level)).toEqual([]);
  expect(ledger.rows).toBeGreaterThan(previewRows);
  await expectTruth(page, url);
  expect(ledger.repeated((level, row) => row >= (count - 1) >> level)).toEqual([]);
  expect(opened.complaints).toEqual([]);
  await opened.close();
});

test("what the inspector shows of the prompt stays while its text goes on", async () => {
  const url = inject("serverUrl");
  const { opened } = await open(url, { model: "tales", prompt: STORY.trim(), tokens: "8", temperature: "3" });
  const { page } = opened;
  await page.evaluate(() =>
    window.glassformer.store.setState({ selection: { address: "resid_post.1", index: [2, 1] } }),
  );
  await waitForState(page, (state) => state.inspected.value !== null && state.explanation.value !== null);
  await page.evaluate(() => {
    const gone: string[] = [];
    Object.assign(window, { gone });
    window.glassformer.store.subscribe(({ inspected, explanation }) => {
      if (inspected.value === null) gone.push(`matrix, ${inspected.status}`);
      if (explanation.value === null) gone.push(`explanation, ${explanation.status}`);
    });
  });
  await generate(page);
  expect(await page.evaluate(() => (window as unknown as { gone: string[] }).gone)).toEqual([]);
  expect(opened.complaints).toEqual([]);
  await opened.close();
});

test("Generate once more keeps the prompt, and its next words take the place of the last", async () => {
  const url = inject("serverUrl");
  const query = { model: "tales", prompt: STORY.trim(), tokens: "16", temperature: "3", top_p: "1" };
  const { opened, ledger } = await open(url, query);
  const { page } = opened;
  const count = ledger.positions;
  for (let time = 0; time < 3; time += 1) {
    const filled = await page.evaluate(() => window.glassformer.scene.stats().tensors);
    const readLeast = await watchDarkness(page);
    await generate(page);
    expect(await readLeast()).toBe(filled);
  }
  expect(ledger.repeated((level, row) => row >= (count - 1) >> level)).toEqual([]);
  await expectTruth(page, url);
  expect(opened.complaints).toEqual([]);
  await opened.close();
});

test("a recording that takes nothing over is read whole, in place of the one before", async () => {
  const server = await startServer(["--prefix-bytes", "0"]);
  try {
    const { opened, ledger } = await open(server.url, { model: "tales", prompt: STORY.trim(), tokens: "8" });
    const { page } = opened;
    const filled = await page.evaluate(() => window.glassformer.scene.stats().tensors);
    const readLeast = await watchDarkness(page);
    await generate(page);
    expect(await readLeast()).toBe(filled);
    expect(await readState(page, (state) => state.trace?.adopted)).toEqual([]);
    expect(ledger.repeated(() => false).length).toBeGreaterThan(500);
    await expectTruth(page, server.url);
    await opened.close();
  } finally {
    await server.stop();
  }
});

test("another prompt leaves nothing of the last one", async () => {
  const url = inject("serverUrl");
  const { opened } = await open(url, { model: "tales", prompt: "Mia has a ball.", tokens: "4" });
  const { page } = opened;
  await page.getByTestId("prompt").fill("Mia has a cup. Tom is glad.");
  const before = await readState(page, (state) => state.trace?.id ?? "");
  await page.getByTestId("run").click();
  await page.waitForFunction((id) => {
    const { activity, trace } = window.glassformer.store.getState();
    return activity === "idle" && trace !== null && trace.id !== id;
  }, before);
  await waitForFullPicture(page);
  await expectTruth(page, url);
  expect(opened.complaints).toEqual([]);
  await opened.close();
});
