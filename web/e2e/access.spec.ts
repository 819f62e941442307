import type { Page } from "playwright-core";
import { describe, expect, test } from "vitest";
import { readCanvasPixels, readState } from "./drive.ts";
import { sharePage } from "./sharePage.ts";

describe("a dark desktop", () => {
  const opened = sharePage({ theme: "dark", reducedMotion: true });

  test("is dark, legible, and within its window", async () => {
    const { page } = opened();
    expect((await readCanvasPixels(page)).backgroundLuminance).toBeLessThan(0.2);
    expect(await readContrast(page)).toBeGreaterThan(4.5);
    await expectNothingOutside(page, 1400);
  });

  test("has a name for every control, reaches each by keyboard, and shows where the focus is", async () => {
    const { page } = opened();
    const nameless = await page.evaluate(() =>
      [...document.querySelectorAll<HTMLElement>("button, input, select, textarea")]
        .filter((element) => element.checkVisibility())
        .filter((element) => {
          const labels = (element as HTMLInputElement).labels;
          return !(
            element.getAttribute("aria-label") ||
            element.getAttribute("aria-labelledby") ||
            element.textContent?.trim() ||
            labels?.length
          );
        })
        .map((element) => element.outerHTML.slice(0, 120)),
    );
    expect(nameless).toEqual([]);

    const reached = new Set<string>();
    const ringless: string[] = [];
    for (let press = 0; press < 80; press += 1) {
      await page.keyboard.press("Tab");
      const focused = await page.evaluate(() => {
        const element = document.activeElement as HTMLElement | null;
        if (!element || element === document.body) return null;
        const style = getComputedStyle(element);
        const ringed = (part: CSSStyleDeclaration) =>
          (part.outlineStyle !== "none" && Number.parseFloat(part.outlineWidth) > 0) ||
          part.boxShadow !== "none";
        const holder = element.parentElement ? getComputedStyle(element.parentElement) : style;
        const ring = ringed(style) || ringed(holder);
        return { testid: element.getAttribute("data-testid"), ring, html: element.outerHTML.slice(0, 120) };
      });
      if (!focused) continue;
      if (!focused.ring) ringless.push(focused.html);
      if (focused.testid) reached.add(focused.testid);
    }
    for (const wanted of ["prompt", "run", "generate", "model-picker", "theme-toggle"])
      expect(reached).toContain(wanted);
    expect(ringless).toEqual([]);
  });

  test("runs from the prompt box without the mouse", async () => {
    const { page } = opened();
    const before = await readState(page, (state) => state.trace?.id ?? "");
    await page.getByTestId("prompt").focus();
    await page.keyboard.press("End");
    await page.keyboard.type(" Tom");
    await page.keyboard.press("ControlOrMeta+Enter");
    await page.waitForFunction((id) => window.glassformer.store.getState().trace?.id !== id, before);
  });
});

describe("a light phone", () => {
  const opened = sharePage({ theme: "light", width: 390, height: 844, reducedMotion: true });

  test("is light, legible, and within its window", async () => {
    const { page } = opened();
    const pixels = await readCanvasPixels(page);
    expect(pixels.backgroundLuminance).toBeGreaterThan(0.7);
    expect(pixels.drawnShare).toBeGreaterThan(0.02);
    expect(await readContrast(page)).toBeGreaterThan(4.5);
    await expectNothingOutside(page, 390);
  });

  test("can be made dark by hand", async () => {
    const { page } = opened();
    // The button goes round system, dark and light.
    for (let press = 0; press < 3; press += 1) {
      await page.getByTestId("theme-toggle").click();
      if ((await readState(page, (state) => state.theme)) === "dark") break;
    }
    expect(await readState(page, (state) => state.theme)).toBe("dark");
  });
});

/** No control sticks out sideways, except within something that scrolls. */
async function expectNothingOutside(page: Page, width: number): Promise<void> {
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
  const outside = await page.evaluate(() => {
    const scrolls = (element: Element | null): boolean =>
      element !== null &&
      (/auto|scroll/.test(getComputedStyle(element).overflowX) || scrolls(element.parentElement));
    return [...document.querySelectorAll<HTMLElement>("button, input, select, textarea, a[href]")]
      .filter((element) => element.checkVisibility({ visibilityProperty: true }))
      .map((element) => ({ element, box: element.getBoundingClientRect() }))
      .filter(({ box }) => box.width > 1 && (box.right > innerWidth + 1 || box.left < -1))
      .filter(({ element }) => !scrolls(element.parentElement))
      .map(({ element }) => element.outerHTML.slice(0, 120));
  });
  expect(outside).toEqual([]);
}

/** The contrast of the status line's text against the page's background (WCAG, 4.5 is AA). */
function readContrast(page: Page): Promise<number> {
  return page.evaluate(() => {
    const element = document.querySelector("[data-testid=status]") ?? document.body;
    const parse = (color: string) => (color.match(/[\d.]+/g) ?? []).slice(0, 3).map(Number);
    const luminance = (channels: number[]) => {
      const [red = 0, green = 0, blue = 0] = channels.map((value) => {
        const part = value / 255;
        return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const text = luminance(parse(getComputedStyle(element).color));
    const ground = luminance(parse(getComputedStyle(document.body).backgroundColor));
    return (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
  });
}
