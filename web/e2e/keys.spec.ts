import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { launchBrowser, openPage } from "./browser.ts";
import { readState, waitForFullPicture, waitForRecording } from "./drive.ts";
import { sharePage } from "./sharePage.ts";

describe("on a page that is there", () => {
  const opened = sharePage({ reducedMotion: true });

  test("in the outline Enter shows a site and its heads, and again shows it and leaves them open", async () => {
    const { page } = opened();
    await page.getByTestId("theme-toggle").focus();
    await page.keyboard.press("o");
    const row = (node: string) => page.locator(`[data-testid=outline] [data-node="${node}"]`);
    await row("attn_probs.0").focus();
    await row("attn_probs.0").click({ position: { x: 60, y: 8 } });
    await row("attn_probs.0:1").click();
    expect(await row("attn_probs.0:1").getAttribute("aria-selected")).toBe("true");
    await page.keyboard.press("ArrowLeft");
    for (const _ of ["once", "and again"]) {
      await page.keyboard.press("Enter");
      expect(await row("attn_probs.0").getAttribute("aria-expanded")).toBe("true");
      expect(await row("attn_probs.0:0").getAttribute("aria-selected")).toBe("true");
    }
    await row("attn_probs.0").locator(".icon").click();
    expect(await row("attn_probs.0").getAttribute("aria-expanded")).toBe("false");
    expect(await row("attn_probs.0").getAttribute("aria-selected")).toBe("true");
    await page.evaluate(() => window.glassformer.store.setState({ selection: null }));
    await page.getByTestId("outline-toggle").click();
  });

  test("O opens the outline and goes into it; closing it leads back", async () => {
    const { page } = opened();
    await page.getByTestId("theme-toggle").focus();
    await page.keyboard.press("o");
    await page.waitForFunction(() => document.activeElement?.getAttribute("role") === "treeitem");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowDown");
    expect(await readFocus(page)).toBe("embeddings");
    await page.keyboard.press("Escape");
    await page.waitForFunction(() => document.activeElement?.getAttribute("data-testid") === "theme-toggle");
    expect(await page.getByTestId("outline").count()).toBe(0);
    // By its button too, and the other way round.
    await page.getByTestId("outline-toggle").click();
    await page.waitForFunction(() => document.activeElement?.getAttribute("role") === "treeitem");
    await page.keyboard.press("o");
    await page.waitForFunction(
      () => document.activeElement?.getAttribute("data-testid") === "outline-toggle",
    );
  });

  test("the tokens are one tab stop, and arrows go through them", async () => {
    const { page } = opened();
    const stops = page.getByTestId("timeline").locator("button[tabindex='0']");
    const count = await page.getByTestId("timeline").getByRole("button").count();
    expect(count).toBeGreaterThan(20);
    expect(await stops.count()).toBe(1);
    await stops.focus();
    await page.keyboard.press("Home");
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowRight");
    expect(await readTokenPlace(page)).toBe(2);
    await page.keyboard.press("Enter");
    expect(await readState(page, (state) => state.position)).toBe(2);
    await page.keyboard.press("End");
    expect(await readTokenPlace(page)).toBe(count - 1);
    await page.keyboard.press("ArrowRight");
    expect(await readTokenPlace(page)).toBe(count - 1);
    await page.keyboard.press("ArrowLeft");
    expect(await readTokenPlace(page)).toBe(count - 2);
    expect(await stops.count()).toBe(1);
    // From there Tab leaves them.
    await page.keyboard.press("Tab");
    expect(await readTokenPlace(page)).toBe(-1);
  });

  test("keys that are typed into fields are theirs", async () => {
    const { page } = opened();
    const before = await readView(page);
    await page.getByTestId("prompt").click();
    await page.keyboard.press("End");
    await page.keyboard.type("?gofpt/");
    expect(await page.getByTestId("prompt").inputValue()).toContain("?gofpt/");
    await page.getByTestId("model-picker").click();
    await page.getByTestId("model-input").pressSequentially("gpt/o?f");
    expect(await page.getByTestId("model-input").inputValue()).toBe("gpt/o?f");
    await page.keyboard.press("Escape");
    await page.getByTestId("seed").click();
    await page.keyboard.type("g12o");
    expect(await readView(page)).toEqual(before);
  });

  test("Escape closes what a button opened, also where the browser gave that button no focus", async () => {
    const { page } = opened();
    for (const button of ["model-picker", "save-toggle"]) {
      await page.evaluate((id) => {
        (document.activeElement as HTMLElement | null)?.blur();
        document.querySelector<HTMLElement>(`[data-testid=${id}]`)?.click();
      }, button);
      const face = page.getByTestId(button);
      expect(await face.getAttribute("aria-expanded"), button).toBe("true");
      await page.keyboard.press("Escape");
      expect(await face.getAttribute("aria-expanded"), button).toBe("false");
      expect(await face.evaluate((each) => each === document.activeElement), button).toBe(true);
    }
  });

  test("keys are not the page's while a letter is composed, nor behind a dialog", async () => {
    const { page } = opened();
    const before = await readView(page);
    await page.evaluate(() => {
      const composing = { key: "Enter", ctrlKey: true, isComposing: true, bubbles: true, cancelable: true };
      document.getElementById("prompt")?.dispatchEvent(new KeyboardEvent("keydown", composing));
      window.glassformer.store.setState({ keyWanted: "missing" });
    });
    await page.getByTestId("key-dialog").waitFor();
    await page.getByTestId("key-input").fill("x");
    await page.getByTestId("key-dialog").getByRole("button").focus();
    await page.keyboard.press("o");
    await page.keyboard.press("t");
    expect(await readView(page)).toEqual(before);
    await page.evaluate(() => window.glassformer.store.setState({ keyWanted: null }));
  });
});

describe("on a page that is still loading", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchBrowser();
  });
  afterAll(() => browser.close());

  test("? opens the guide and is typed nowhere; the prompt has the focus when there is something to run", async () => {
    const { page, close } = await openPage(browser, inject("serverUrl"), { path: "/health" });
    let answer = () => {};
    const held = new Promise<void>((resolve) => {
      answer = resolve;
    });
    await page.route("**/api/models", async (route) => {
      await held;
      await route.continue();
    });
    await page.goto(`${inject("serverUrl")}/llm/`);
    await page.getByTestId("prompt").waitFor();
    await page.keyboard.press("?");
    await page.getByTestId("guide").waitFor();
    await page.keyboard.press("Escape");
    await page.keyboard.press("o");
    expect(await readState(page, (state) => [state.panels.outline, state.prompt])).toEqual([true, ""]);
    await page.keyboard.press("o");

    answer();
    await waitForRecording(page);
    await waitForFullPicture(page);
    expect(await readFocus(page)).toBe("prompt");
    expect(await page.getByTestId("prompt").inputValue()).toMatch(/^Mia and Tom/);
    await close();
  });
});

/** What shortcuts change. */
function readView(page: Page) {
  return readState(page, ({ panels, themeChoice, trace, activity }) => ({
    panels,
    themeChoice,
    trace: trace?.id,
    activity,
  }));
}

function readFocus(page: Page): Promise<string | null> {
  return page.evaluate(() => {
    const { activeElement } = document;
    return activeElement?.getAttribute("data-testid") ?? activeElement?.getAttribute("data-node") ?? null;
  });
}

/** Which of the tokens has the focus; -1: none. */
function readTokenPlace(page: Page): Promise<number> {
  return page.evaluate(() => {
    const buttons = [...document.querySelectorAll("[data-testid=timeline] button")];
    return buttons.indexOf(document.activeElement as Element);
  });
}
