import type { Page } from "playwright-core";
import type { SceneStats } from "../src/scene/Scene";
import type { AppState } from "../src/state/AppState";

/** A page that has changed nothing and asked nothing for this long has settled: longer than any of its own delays. */
const SETTLED_MS = 500;
/** So often it had a frame to change something in, however slow those are. */
const SETTLED_LOOKS = 8;
const TIMEOUT_MS = 90_000;

export function readStats(page: Page): Promise<SceneStats> {
  return page.evaluate(() => window.glassformer.scene.stats());
}

/** Part of the page's state; `select` runs in the page and may use nothing from outside itself. */
export function readState<T>(page: Page, select: (state: AppState) => T): Promise<T> {
  return page.evaluate(`(${select.toString()})(window.glassformer.store.getState())`) as Promise<T>;
}

export async function waitForState(page: Page, condition: (state: AppState) => boolean): Promise<void> {
  const code = `Boolean(window.glassformer) && (${condition.toString()})(window.glassformer.store.getState())`;
  // A function of its own: the page's policy lets no text be run as a script while it waits.
  await page.waitForFunction(new Function(`return ${code}`) as () => boolean, undefined, {
    timeout: TIMEOUT_MS,
    polling: 50,
  });
}

export function waitForRecording(page: Page): Promise<void> {
  return waitForState(
    page,
    (state) => state.activity === "idle" && state.trace !== null && state.trace.positions > 0,
  );
}

/**
 * Waits until the recording is there, its numbers have come, and the scene has nothing left to draw.
 * Returns when the last frame was drawn, in milliseconds since the page was opened.
 */
export async function waitForFullPicture(page: Page): Promise<{ lastFrameMs: number }> {
  await waitForRecording(page);
  return waitForRest(page);
}

/** Waits until the scene has nothing left to draw, and the page nothing to ask; see `waitForFullPicture`. */
export function waitForRest(page: Page): Promise<{ lastFrameMs: number }> {
  return page.evaluate(
    async ([settledMs, settledLooks]) => {
      const countFrames = () => window.glassformer.scene.stats().frames;
      const countAnswers = () => performance.getEntriesByType("resource").length;
      // A decision that is being tested lights its parts one after the other.
      const isTesting = () => {
        const { reading, effects } = window.glassformer.store.getState();
        return reading.status === "loading" || effects.status === "loading";
      };
      performance.setResourceTimingBufferSize(100_000);
      let [frames, answers] = [countFrames(), countAnswers()];
      let lastFrameMs = performance.now();
      let lastChangeMs = lastFrameMs;
      let looks = 0;
      while (frames === 0 || looks < settledLooks || performance.now() - lastChangeMs < settledMs) {
        // A busy page answers late: what counts is time in which it could have changed.
        await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve, 20)));
        const isChanged = countFrames() !== frames || countAnswers() !== answers;
        if (countFrames() !== frames) lastFrameMs = performance.now();
        if (isChanged || isTesting() || (window.unanswered ?? 0) > 0) {
          lastChangeMs = performance.now();
          looks = 0;
        } else looks += 1;
        [frames, answers] = [countFrames(), countAnswers()];
      }
      return { lastFrameMs };
    },
    [SETTLED_MS, SETTLED_LOOKS] as const,
  );
}

/** Comes near with the wheel at a place of the page, until a block there is drawn with its matrices. */
export async function comeNear(page: Page, at: { x: number; y: number }): Promise<void> {
  await page.mouse.move(at.x, at.y);
  for (let turn = 0; turn < 20; turn += 1) {
    const { plates, tensors } = await readStats(page);
    if (plates > 0 && tensors > 0) return;
    await page.mouse.wheel(0, -200);
    await page.waitForTimeout(400);
  }
  throw new Error("no matrix came near");
}

export async function typePrompt(page: Page, text: string): Promise<void> {
  const box = page.getByTestId("prompt");
  await box.click();
  await page.keyboard.press("ControlOrMeta+A");
  await page.keyboard.press("Delete");
  // Key by key, as a person does: a prompt box that swallows the space would be found out here.
  await page.keyboard.type(text);
  const shown = await box.inputValue();
  if (shown !== text)
    throw new Error(`typed ${JSON.stringify(text)}, the prompt box holds ${JSON.stringify(shown)}`);
}

/** Types a prompt, presses Run and waits for its recording. */
export async function runPrompt(page: Page, text: string): Promise<void> {
  await typePrompt(page, text);
  const before = await readState(page, (state) => state.trace?.id ?? null);
  await page.getByTestId("run").click();
  await page.waitForFunction((id) => window.glassformer.store.getState().trace?.id !== id, before);
  await waitForRecording(page);
}

/** The token counts the page went through, oldest first; `pressStopAfter` presses Stop once that many are new. */
export async function watchTokens(page: Page, pressStopAfter: number): Promise<() => Promise<number[]>> {
  // In the page itself: a small model writes faster than a test can ask.
  await page.evaluate((stopAfter) => {
    const counts: number[] = [];
    Object.assign(window, { seenTokenCounts: counts });
    window.glassformer.store.subscribe(({ trace, activity }) => {
      if (!trace || activity !== "generating" || counts.at(-1) === trace.tokens.length) return;
      counts.push(trace.tokens.length);
      const stop = document.querySelector<HTMLButtonElement>("[data-testid=stop]");
      if (trace.tokens.length >= trace.prompt_count + stopAfter) stop?.click();
    });
  }, pressStopAfter);
  return () => page.evaluate(() => (window as unknown as { seenTokenCounts: number[] }).seenTokenCounts);
}

export interface Pixels {
  distinctColors: number;
  /** The share of pixels that differ clearly from the most frequent colour. */
  drawnShare: number;
  /** Relative luminance of the most frequent colour, 0 to 1. */
  backgroundLuminance: number;
}

/** What is on the canvas alone, without the panels over it, as the screen shows it. */
export async function readCanvasPixels(page: Page): Promise<Pixels> {
  await setPanelsVisible(page, false);
  const image = await page.locator("canvas").first().screenshot();
  await setPanelsVisible(page, true);
  return page.evaluate(measurePixels, image.toString("base64"));
}

async function setPanelsVisible(page: Page, visible: boolean): Promise<void> {
  await page.evaluate((visible) => {
    document.body.style.visibility = visible ? "" : "hidden";
    for (const canvas of document.querySelectorAll("canvas"))
      canvas.style.visibility = visible ? "" : "visible";
  }, visible);
}

async function measurePixels(png: string): Promise<Pixels> {
  const bytes = Uint8Array.from(atob(png), (letter) => letter.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  if (!context) throw new Error("no 2D context");
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  const counts = new Map<number, number>();
  const colorAt = (at: number) => ((data[at] ?? 0) << 16) | ((data[at + 1] ?? 0) << 8) | (data[at + 2] ?? 0);
  for (let at = 0; at < data.length; at += 4) counts.set(colorAt(at), (counts.get(colorAt(at)) ?? 0) + 1);
  const background = [...counts].reduce((most, each) => (each[1] > most[1] ? each : most))[0];
  const channels = [background >> 16, (background >> 8) & 255, background & 255];
  let drawn = 0;
  for (let at = 0; at < data.length; at += 4) {
    const distance = channels.reduce(
      (sum, value, channel) => sum + Math.abs((data[at + channel] ?? 0) - value),
      0,
    );
    if (distance > 24) drawn += 1;
  }
  const [red = 0, green = 0, blue = 0] = channels;
  return {
    distinctColors: counts.size,
    drawnShare: drawn / (data.length / 4),
    backgroundLuminance: (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255,
  };
}
