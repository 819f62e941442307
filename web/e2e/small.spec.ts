import type { Page } from "playwright-core";
import { describe, expect, test } from "vitest";
import { sharePage } from "./sharePage.ts";

/** A laptop's window at 200 %, a phone on its side, upright, and the least that is promised. */
describe.each([
  [700, 450, 300],
  [844, 390, 250],
  [390, 844, 260],
  [320, 400, 90],
])("%i x %i", (width, height, sceneHeight) => {
  const opened = sharePage({ width, height, reducedMotion: true });

  test("the scene has room, Run can be pressed, and nothing is cut off", async () => {
    const { page } = opened();
    expect(await measureScene(page)).toBeGreaterThanOrEqual(sceneHeight);
    for (const name of ["run", "generate", "stop", "prompt"]) {
      expect(await isWhollyVisible(page, name), name).toBe(true);
    }
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
    const about = await page.getByTestId("about").innerText();
    expect(about).toMatch(/is a language model/);

    // A press by hand, where the button stands.
    const before = await page.evaluate(() => window.glassformer.store.getState().trace?.id);
    await page.getByTestId("run").click();
    await page.waitForFunction((id) => window.glassformer.store.getState().trace?.id !== id, before);
  });

  test("every panel opens, and leaves its controls within the window", async () => {
    const { page } = opened();
    for (const name of ["Next token", "Inspector", "Outline", "Prompt"]) {
      await page.getByRole("button", { name, exact: true }).click();
      const box = await page.locator(".sheet").boundingBox();
      expect(box && box.y >= 0 && box.y + box.height <= height && box.height > 30, name).toBe(true);
    }
  });
});

describe("with panels beside the scene", () => {
  const opened = sharePage({ reducedMotion: true });

  test("no panel lies over another, in large type too, however narrow the window", async () => {
    const { page } = opened();
    for (const large of [false, true]) {
      await page.evaluate((large) => window.glassformer.store.setState({ large }), large);
      for (const width of [1400, 1150, 1130, 1000, 910, 800, 765]) {
        await page.setViewportSize({ width, height: 700 });
        expect(await findOverlaps(page), `${width}, ${large ? "large" : "usual"} type`).toEqual([]);
      }
    }
  });
});

/** The panels that lie over each other, by pairs. */
function findOverlaps(page: Page): Promise<string[]> {
  return page.evaluate(async () => {
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    const panels = [".column-left > *", ".toolbar", ".how", ".foot > .reading", ".strip > *"].flatMap(
      (selector) =>
        [...document.querySelectorAll(selector)].map((element) => ({
          name: `${selector} ${element.className}`,
          box: element.getBoundingClientRect(),
        })),
    );
    return panels.flatMap(({ name, box }, at) =>
      panels
        .slice(at + 1)
        .filter(
          ({ box: other }) =>
            box.width > 0 &&
            other.width > 0 &&
            Math.min(box.right, other.right) - Math.max(box.left, other.left) > 0.5 &&
            Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top) > 0.5,
        )
        .map((other) => `${name} and ${other.name}`),
    );
  });
}

/** The height in pixels of the window's largest free rectangle that spans the scene's width: between what lies over it. */
function measureScene(page: Page): Promise<number> {
  return page.evaluate(() => {
    const boxes = [...document.querySelectorAll<HTMLElement>("[data-inset]")].map((element) => ({
      side: element.dataset.inset,
      box: element.getBoundingClientRect(),
    }));
    const top = Math.max(0, ...boxes.filter(({ side }) => side === "top").map(({ box }) => box.bottom));
    const bottoms = boxes.filter(({ side, box }) => side === "bottom" && box.height > 0);
    return Math.min(innerHeight, ...bottoms.map(({ box }) => box.top)) - top;
  });
}

/** Whether all of it can be seen and pressed: nothing cuts it off or lies over a corner of it. */
function isWhollyVisible(page: Page, testId: string): Promise<boolean> {
  return page.getByTestId(testId).evaluate((element) => {
    const { left, right, top, bottom } = element.getBoundingClientRect();
    const corners = [
      [left + 6, top + 6],
      [right - 6, top + 6],
      [left + 6, bottom - 6],
      [right - 6, bottom - 6],
    ] as const;
    return corners.every(([x, y]) => element.contains(document.elementFromPoint(x, y)));
  });
}
