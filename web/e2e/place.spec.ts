import type { Page } from "playwright-core";
import { afterEach, describe, expect, test } from "vitest";
import type { Cell } from "../src/layout/Cell";
import { readState, readStats, waitForFullPicture, waitForRest } from "./drive.ts";
import { sharePage } from "./sharePage.ts";

const NEAR = { address: "attn_probs.2", index: [1, 12, 4] };
/** One cell of each kind of plate in one block, and two far from it: where they stand is where everything stands. */
const OTHERS: Cell[] = [
  NEAR,
  { address: "attn_probs.2", index: [3, 3, 1] },
  { address: "q.2", index: [1, 5, 3] },
  { address: "v.2", index: [0, 5, 3] },
  { address: "resid_post.2", index: [7, 40] },
  { address: "mlp_act.2", index: [7, 40] },
  { address: "embeddings", index: [0, 0] },
  { address: "lm_head", index: [9, 100] },
];

interface Point {
  x: number;
  y: number;
}

/** In CSS pixels from the window's corner, where the canvas begins too. */
async function placesOf(page: Page, cells: Cell[]): Promise<Point[]> {
  const places = await page.evaluate(
    (cells) => cells.map((cell) => window.glassformer.scene.placeOf(cell)),
    cells,
  );
  return places.map((place) => place ?? { x: Number.NaN, y: Number.NaN });
}

const placeOf = async (page: Page, cell: Cell) => (await placesOf(page, [cell]))[0] as Point;

/** Comes near with the wheel until a cell of the pattern is some pixels wide. */
async function zoomTo(page: Page, cell: Cell, widthPx: number): Promise<Point> {
  const beside = { ...cell, index: cell.index.with(-1, (cell.index.at(-1) ?? 0) + 1) };
  for (let turn = 0; turn < 40; turn += 1) {
    const [at, next] = (await placesOf(page, [cell, beside])) as [Point, Point];
    if (Math.hypot(next.x - at.x, next.y - at.y) > widthPx) return at;
    await page.mouse.move(at.x, at.y);
    await page.mouse.wheel(0, -200);
    await waitForRest(page);
  }
  throw new Error("the wheel did not bring the cell near");
}

/** The sum of a pixel's red, green and blue that the dark room stays under. */
const EMPTY = 90;

/** The share of pixels around a point that are not the dark of an empty scene. */
async function litShare(page: Page, { x, y }: Point): Promise<number> {
  const half = 24;
  const image = await page.screenshot({
    clip: { x: x - half, y: y - half, width: 2 * half, height: 2 * half },
  });
  return page.evaluate(
    async ([png, empty]) => {
      const bytes = Uint8Array.from(atob(png), (letter) => letter.charCodeAt(0));
      const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
      const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
      if (!context) throw new Error("no 2D context");
      context.drawImage(bitmap, 0, 0);
      const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
      let lit = 0;
      for (let at = 0; at < data.length; at += 4) {
        if ((data[at] ?? 0) + (data[at + 1] ?? 0) + (data[at + 2] ?? 0) > empty) lit += 1;
      }
      return lit / (data.length / 4);
    },
    [image.toString("base64"), EMPTY] as const,
  );
}

/** The largest distance that a place moved by, once the whole picture has been shifted to bring the first back. */
function drift(before: Point[], after: Point[]): number {
  // What stands beside or behind the eye has no place on the screen.
  const seen = before.flatMap((place, at) => (Number.isNaN(place.x) ? [] : [at]));
  if (seen.length < 4) throw new Error("too little is seen from here");
  [before, after] = [before, after].map((places) => seen.map((at) => places[at] as Point)) as [
    Point[],
    Point[],
  ];
  const shift = (points: Point[]) =>
    points.map(({ x, y }) => [x - (points[0]?.x ?? 0), y - (points[0]?.y ?? 0)]);
  const [one, other] = [shift(before).flat(), shift(after).flat()];
  return Math.max(...one.map((value, at) => Math.abs(value - (other[at] ?? Number.NaN))));
}

function distance(one: Point, other: Point): number {
  return Math.hypot(one.x - other.x, one.y - other.y);
}

const isInspectorOpen = (page: Page) => page.getByTestId("inspector").isVisible();

describe("on a wide page", () => {
  const opened = sharePage({ reducedMotion: true });

  afterEach(async () => {
    const { page } = opened();
    await page.setViewportSize({ width: 1400, height: 900 });
    await page.evaluate(() => {
      window.glassformer.store.setState({ selection: null });
      window.glassformer.scene.fit();
    });
    await waitForRest(page);
  });

  test("a click on a value near by opens the inspector and moves nothing", async () => {
    const { page } = opened();
    const at = await zoomTo(page, NEAR, 14);
    const before = await placesOf(page, OTHERS);
    expect(await litShare(page, at)).toBeGreaterThan(0.2);

    await page.mouse.click(at.x, at.y);
    await waitForRest(page);
    expect(await readState(page, (state) => state.selection)).toEqual(NEAR);
    expect(await isInspectorOpen(page)).toBe(true);
    expect(drift(before, await placesOf(page, OTHERS))).toBeLessThan(0.01);
    expect(distance(await placeOf(page, NEAR), at)).toBeLessThan(4);
    expect(await litShare(page, at)).toBeGreaterThan(0.2);

    // And neither does closing it, nor another panel.
    for (const change of [{ panels: { outline: true } }, { selection: null }]) {
      await page.evaluate((change) => {
        const { store } = window.glassformer;
        store.setState((state) => ({
          ...change,
          panels: { ...state.panels, ...("panels" in change ? change.panels : {}) },
        }));
      }, change);
      await waitForRest(page);
      expect(distance(await placeOf(page, NEAR), at)).toBeLessThan(4);
      expect(drift(before, await placesOf(page, OTHERS))).toBeLessThan(0.01);
    }
    await page.evaluate(() =>
      window.glassformer.store.setState(({ panels }) => ({ panels: { ...panels, outline: false } })),
    );
  });

  test("what the inspector would hide is moved beside it, and no further", async () => {
    const { page } = opened();
    await zoomTo(page, NEAR, 14);
    const start = await placeOf(page, NEAR);
    await page.mouse.move(start.x, start.y);
    // With Shift a drag moves the picture: bring the cell to where the inspector will be.
    await page.keyboard.down("Shift");
    await page.mouse.down();
    await page.mouse.move(1250, 500, { steps: 4 });
    await page.mouse.up();
    await page.keyboard.up("Shift");
    await waitForRest(page);
    const at = await placeOf(page, NEAR);
    expect(at.x).toBeGreaterThan(1200);
    const before = await placesOf(page, OTHERS);

    await page.mouse.click(at.x, at.y);
    await waitForRest(page);
    const panel = await page.locator("[data-inset=right]").boundingBox();
    const after = await placeOf(page, NEAR);
    expect(after.x).toBeLessThan(panel?.x ?? 0);
    expect(after.x).toBeGreaterThan((panel?.x ?? 0) - 60);
    expect(Math.abs(after.y - at.y)).toBeLessThan(4);
    expect(drift(before, await placesOf(page, OTHERS))).toBeLessThan(0.01);
    expect(await litShare(page, after)).toBeGreaterThan(0.2);
  });

  test("a click from afar chooses no cell of a card, and leaves the whole picture where it is", async () => {
    const { page } = opened();
    const cell = { address: "resid_post.2", index: [3, 60] };
    const first = await placesOf(page, OTHERS);
    const at = await placeOf(page, cell);
    await page.mouse.click(at.x, at.y);
    await waitForRest(page);
    expect(await readState(page, (state) => state.selection)).toBeNull();
    const after = await placesOf(page, OTHERS);
    for (const [index, place] of after.entries())
      expect(distance(place, first[index] as Point)).toBeLessThan(1);
  });

  test("a window of another size keeps what is selected in sight, and its size", async () => {
    const { page } = opened();
    const at = await zoomTo(page, NEAR, 14);
    await page.mouse.click(at.x, at.y);
    await waitForRest(page);
    const sizeOf = async () => {
      const beside = { ...NEAR, index: NEAR.index.with(-1, (NEAR.index.at(-1) ?? 0) + 1) };
      const [cell, next] = (await placesOf(page, [NEAR, beside])) as [Point, Point];
      return distance(cell, next);
    };
    const before = await sizeOf();
    for (const size of [
      { width: 1100, height: 700 },
      { width: 1600, height: 1000 },
    ]) {
      const { frames } = await readStats(page);
      await page.setViewportSize(size);
      // A canvas of another size is empty until something is drawn on it.
      await page.waitForFunction((before) => window.glassformer.scene.stats().frames > before, frames);
      await waitForRest(page);
      const place = await placeOf(page, NEAR);
      const right = (await page.locator("[data-inset=right]").boundingBox())?.x ?? 0;
      const left = await page.locator("[data-inset=left]").boundingBox();
      expect(place.x).toBeGreaterThan((left?.x ?? 0) + (left?.width ?? 0));
      expect(place.x).toBeLessThan(right);
      // All but equal: the eye has moved a little with the window's height.
      expect(Math.abs((await sizeOf()) / before - 1)).toBeLessThan(0.1);
      expect(await litShare(page, place)).toBeGreaterThan(0.2);
    }
  });

  test("a longer text moves no part of the model", async () => {
    const { page } = opened();
    await zoomTo(page, NEAR, 8);
    // Cells get narrower; their plates do not: the first cell of the first column hardly moves, the model not at all.
    const weights = await readState(page, (state) =>
      (state.anatomy?.blocks[2]?.weights ?? []).map(({ name, shape }) => ({
        address: name,
        index: shape.map(() => 0),
      })),
    );
    const before = await placesOf(page, weights);
    await page.getByTestId("generate").click();
    await page.waitForFunction(() => {
      const { activity, trace } = window.glassformer.store.getState();
      return activity === "idle" && (trace?.tokens.length ?? 0) > (trace?.prompt_count ?? 0);
    });
    await waitForFullPicture(page);
    expect(before.length).toBeGreaterThan(5);
    const after = await placesOf(page, weights);
    for (const [index, place] of after.entries())
      expect(distance(place, before[index] as Point)).toBeLessThan(0.1);
  });
});

describe("on a phone", () => {
  const opened = sharePage({ width: 390, height: 844, reducedMotion: true });

  test("a click on a value near by opens the sheet, and the value stays above it", async () => {
    const { page } = opened();
    await page.evaluate(() => window.glassformer.store.setState({ sheet: "none" }));
    await waitForRest(page);
    const at = await zoomTo(page, NEAR, 14);
    const before = await placesOf(page, OTHERS);
    await page.mouse.click(at.x, at.y);
    await waitForRest(page);
    expect(await readState(page, (state) => state.selection)).toEqual(NEAR);
    expect(await isInspectorOpen(page)).toBe(true);
    const sheet = await page.locator(".sheets").boundingBox();
    const place = await placeOf(page, NEAR);
    expect(place.y).toBeLessThan(sheet?.y ?? 0);
    expect(drift(before, await placesOf(page, OTHERS))).toBeLessThan(0.01);
    expect(await litShare(page, place)).toBeGreaterThan(0.2);

    await page.evaluate(() => window.glassformer.store.setState({ sheet: "none" }));
    await waitForRest(page);
    expect(distance(await placeOf(page, NEAR), place)).toBeLessThan(4);
  });

  test("turned on its side it shows the whole model anew", async () => {
    const { page } = opened();
    await page.setViewportSize({ width: 844, height: 390 });
    await waitForFullPicture(page);
    for (const { x, y } of await placesOf(page, OTHERS)) {
      expect(x).toBeGreaterThan(0);
      expect(x).toBeLessThan(844);
      expect(y).toBeGreaterThan(0);
      expect(y).toBeLessThan(390);
    }
  });
});
