import type { Page } from "playwright-core";

/** What the frames of a page cost, in milliseconds: with everything drawn (`frame`), and the scripts alone. */
export interface FrameCosts {
  frames: number;
  frameMs: number[];
  scriptMs: number[];
}

declare global {
  interface Window {
    frameProbe?: { costs: FrameCosts; reset(): void };
  }
}

/**
 * Runs in a page before its own code: times every frame that draws with WebGL 2, whoever wrote it. A frame ends when its
 * pixels are there: one is read back, without which a frame would look free until the next one waits for it.
 */
export function probeFrames(): void {
  const costs: FrameCosts = { frames: 0, frameMs: [], scriptMs: [] };
  window.frameProbe = {
    costs,
    reset() {
      costs.frames = 0;
      costs.frameMs = [];
      costs.scriptMs = [];
    },
  };
  let drawn: WebGL2RenderingContext | null = null;
  const prototype = WebGL2RenderingContext.prototype;
  for (const name of [
    "drawArrays",
    "drawElements",
    "drawArraysInstanced",
    "drawElementsInstanced",
  ] as const) {
    const own = prototype[name] as (...given: number[]) => void;
    Object.assign(prototype, {
      [name](this: WebGL2RenderingContext, ...given: number[]) {
        drawn = this;
        own.apply(this, given);
      },
    });
  }
  const pixel = new Uint8Array(4);
  const request = window.requestAnimationFrame.bind(window);
  window.requestAnimationFrame = (callback) =>
    request((now) => {
      drawn = null;
      const startedAt = performance.now();
      callback(now);
      const scripted = performance.now();
      if (!drawn) return;
      const gl = drawn as WebGL2RenderingContext;
      gl.bindFramebuffer(gl.READ_FRAMEBUFFER, null);
      gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
      costs.frames += 1;
      costs.scriptMs.push(scripted - startedAt);
      costs.frameMs.push(performance.now() - startedAt);
    });
}

/** The median of a page's frames while the pointer drags its canvas round, after `warm` frames that do not count. */
export async function measureOrbit(page: Page, frames = 24, warm = 4): Promise<number> {
  const box = await page.locator("canvas").first().boundingBox();
  if (!box) throw new Error("no canvas");
  const [x, y] = [box.x + box.width * 0.5, box.y + box.height * 0.5];
  const count = () => page.evaluate(() => window.frameProbe?.costs.frames ?? 0);
  await page.mouse.move(x, y);
  await page.mouse.down();
  let start = await count();
  for (let step = 0, counting = false; step < 600; step += 1) {
    await page.mouse.move(x + 80 * Math.sin(step / 10), y);
    const passed = (await count()) - start;
    if (!counting && passed >= warm) {
      counting = true;
      await page.evaluate(() => window.frameProbe?.reset());
      start = 0;
    } else if (counting && passed >= frames) break;
  }
  await page.mouse.up();
  return median(await page.evaluate(() => window.frameProbe?.costs.frameMs ?? []));
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** The value below which the share `share` of the values lies. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
