import type { Page } from "playwright-core";
import { describe, expect, test } from "vitest";
import { comeNear, readState, readStats, waitForFullPicture, waitForState } from "./drive.ts";
import { sharePage } from "./sharePage.ts";

const asked: string[] = [];
const isOfMatrix = (url: string) => /[./]zarr\/|\/rows\?/.test(url);
/** The page's own rules for what a token looks like in the picture (scene/tileText.ts), as far as these words need them. */
const shown = (text: string) => text.replace(/^ /, "");

const waitForEffects = (page: Page) =>
  waitForState(page, (state) => state.reading.status === "ready" && state.effects.status === "ready");

/** Where a part stands once nothing moves: what is said without the part before may need more room. */
async function restingPlaceOf(page: Page, part: string): Promise<{ x: number; y: number }> {
  await waitForState(page, (state) => state.off.length === 0 || state.without.status === "ready");
  for (let before = ""; ; ) {
    const at = await page.evaluate((part) => window.glassformer.scene.placeOfPart(part), part);
    if (!at) throw new Error(`${part} has no place`);
    if (JSON.stringify(at) === before) return at;
    before = JSON.stringify(at);
    await page.waitForTimeout(300);
  }
}

describe("from afar", () => {
  const opened = sharePage({ reducedMotion: true, onRequest: (url) => asked.push(url) });

  test("the words along the spine are the reading's, each said once while it stays, and no matrix is asked for", async () => {
    const { page } = opened();
    await waitForFullPicture(page);
    await waitForEffects(page);
    const lens = await readState(page, (state) => state.reading.value?.lens ?? []);
    expect(lens.length).toBeGreaterThan(3);
    const first = lens.map(({ tokens }) => tokens[0]?.text ?? "");
    const said = first.filter((text, at) => at === first.length - 1 || text !== first[at - 1]);
    const texts = await page.evaluate(() => window.glassformer.scene.texts());
    for (const text of said) expect(texts).toContain(shown(text));
    expect(texts).toContain("leads from here");
    expect(asked.filter(isOfMatrix)).toEqual([]);
    expect(await readStats(page)).toMatchObject({ tensors: 0 });
    expect((await readStats(page)).drawCalls).toBeLessThan(20);
  });

  test("nothing is drawn while nothing happens", async () => {
    const { page } = opened();
    const before = (await readStats(page)).frames;
    await page.waitForTimeout(1_500);
    expect((await readStats(page)).frames).toBe(before);
  });

  test("a click on a head, an MLP and a tile is told, each by its name", async () => {
    const { page } = opened();
    for (const part of ["head.2.3", "mlp.1", "attention.4"]) {
      const at = await restingPlaceOf(page, part);
      await page.mouse.move(at.x, at.y);
      await page.waitForFunction(
        (part) => window.glassformer.store.getState().hoveredPart?.part === part,
        part,
      );
      await page.mouse.click(at.x, at.y);
      await page.waitForFunction((part) => window.glassformer.store.getState().off.includes(part), part);
    }
    await page.evaluate(() => window.glassformer.store.setState({ off: [] }));
    expect(asked.filter(isOfMatrix)).toEqual([]);
  });

  test("between the block and its parts all heads stand on one plate, each cell in its place", async () => {
    const { page } = opened();
    await page.evaluate(() => window.glassformer.scene.fit());
    await waitForFullPicture(page);
    const at = await page.evaluate(() => window.glassformer.scene.placeOfPart("head.2.3"));
    if (!at) throw new Error("the head has no place");
    await page.mouse.move(at.x, at.y);
    for (let turn = 0; turn < 12 && (await readStats(page)).mosaics === 0; turn += 1) {
      await page.mouse.wheel(0, -60);
      await page.waitForTimeout(300);
    }
    await page.mouse.wheel(0, -60);
    await waitForFullPicture(page);
    const stats = await readStats(page);
    expect([stats.mosaics, stats.plates]).toEqual([5, 0]);
    expect(stats.drawCalls).toBeLessThan(20);
    expect(
      new Set(asked.filter(isOfMatrix).flatMap((url) => url.match(/[a-z_]+\.\d+(?=[/:@]|%|&|$)/g) ?? [])),
    ).toEqual(new Set([0, 1, 2, 3, 4].map((block) => `attn_probs.${block}`)));
    for (const [head, query, key] of [
      [3, 20, 11],
      [6, 9, 4],
    ] as const) {
      const { expected, seen } = await page.evaluate(plantInMosaic, { head, query, key });
      expect(seen.pixels).toBeGreaterThan(0);
      expect(Math.abs(seen.x - expected.x)).toBeLessThan(2);
      expect(Math.abs(seen.y - expected.y)).toBeLessThan(2);
    }
  });

  test("near, matrices are asked for, and no more of them from afar again", async () => {
    const { page } = opened();
    await comeNear(page, { x: 850, y: 200 });
    await waitForFullPicture(page);
    const names = asked.filter(isOfMatrix).join(" ");
    expect(names).toMatch(/attn_probs\.0|resid_post\.0|q\.0/);
    await page.evaluate(() => window.glassformer.scene.fit());
    await waitForFullPicture(page);
    const count = asked.filter(isOfMatrix).length;
    await page.evaluate(() => window.glassformer.store.setState({ position: 12 }));
    await waitForState(page, (state) => state.reading.value?.position === 12);
    await waitForEffects(page);
    expect(asked.filter(isOfMatrix)).toHaveLength(count);
  });
});

/** Plants one cell among zeros in the patterns of block 2, and finds where the picture changes. Runs in the page. */
async function plantInMosaic({ head, query, key }: { head: number; query: number; key: number }) {
  const { scene, store } = window.glassformer;
  const canvas = document.querySelector("canvas") as HTMLCanvasElement;
  const gl = canvas.getContext("webgl2") as WebGL2RenderingContext;
  const size = store.getState().trace?.positions ?? 0;
  const heads = 8;
  const nextFrame = async () => {
    const { frames } = scene.stats();
    while (scene.stats().frames === frames) await new Promise(requestAnimationFrame);
    const pixels = new Uint8Array(gl.drawingBufferWidth * gl.drawingBufferHeight * 4);
    gl.readPixels(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
    return pixels;
  };
  const put = (value: number) => {
    const values = new Float32Array(heads * size * size);
    // One more that stays, in another head, holds the scale.
    values[(heads - 1) * size * size] = 1;
    values[(head * size + query) * size + key] = value;
    const shape = [heads, size, size];
    scene.setMatrix({ address: "attn_probs.2", axes: ["head", "query", "key"], shape, level: 0, values });
    return nextFrame();
  };
  const [before, after] = [await put(0), await put(1)];
  let [pixels, x, y] = [0, 0, 0];
  const ratio = gl.drawingBufferWidth / canvas.clientWidth;
  for (let at = 0; at < after.length; at += 4) {
    const change = [0, 1, 2].reduce(
      (sum, part) => sum + Math.abs((after[at + part] ?? 0) - (before[at + part] ?? 0)),
      0,
    );
    if (change < 18) continue;
    pixels += 1;
    x += ((at / 4) % gl.drawingBufferWidth) / ratio;
    y += (gl.drawingBufferHeight - 1 - Math.floor(at / 4 / gl.drawingBufferWidth)) / ratio;
  }
  const expected = scene.placeOf({ address: "attn_probs.2", index: [head, query, key] });
  return { expected: expected ?? { x: -1, y: -1 }, seen: { pixels, x: x / pixels, y: y / pixels } };
}
