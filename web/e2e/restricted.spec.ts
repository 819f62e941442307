import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { launchBrowser, type OpenOptions, openPage } from "./browser.ts";
import { type Pixels, readCanvasPixels, readState, waitForFullPicture, waitForState } from "./drive.ts";
import { expectSamePicture } from "./samePicture.ts";

const NEW_TOKENS = 24;
const query = `?model=tales&prompt=Mia+has+a+ball.&tokens=${NEW_TOKENS}&temperature=3&top_p=1&seed=8`;

let browser: Browser;

beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser.close());

test("where storage is forbidden the page works, and forgets", async () => {
  const { page, complaints, close } = await openPage(browser, inject("serverUrl"), {
    reducedMotion: true,
    // As Chromium does it in a frame of another site whose storage is blocked.
    prepare: () => {
      for (const kind of ["localStorage", "sessionStorage"]) {
        Object.defineProperty(window, kind, {
          get() {
            throw new DOMException("Access is denied for this document.", "SecurityError");
          },
        });
      }
    },
  });
  await waitForFullPicture(page);
  await page.getByTestId("theme-toggle").click();
  await page.getByTestId("outline-toggle").click();
  await page.getByTestId("outline").waitFor();
  expect((await readCanvasPixels(page)).drawnShare).toBeGreaterThan(0.02);
  expect(complaints).toEqual([]);
  await close();
});

test("a browser that takes only whole addresses of sockets gets one", async () => {
  const { page, complaints, close } = await openPage(browser, inject("serverUrl"), {
    path: `/llm/${query}`,
    reducedMotion: true,
    // As Safari before 17.3 and Firefox before 124.
    prepare: () => {
      const Real = window.WebSocket;
      window.WebSocket = class extends Real {
        constructor(address: string | URL, protocols?: string | string[]) {
          if (!/^wss?:/.test(String(address)))
            throw new DOMException(`The URL '${address}' is invalid.`, "SyntaxError");
          super(address, protocols);
          Object.assign(window, { openedSocket: String(address) });
        }
      };
    },
  });
  await waitForFullPicture(page);
  await page.getByTestId("generate").click();
  await waitForState(page, (state) => state.activity === "idle" && state.drawnSeed !== null);
  const opened = await page.evaluate(() => (window as unknown as { openedSocket?: string }).openedSocket);
  expect(opened).toBe(`${inject("serverUrl").replace("http", "ws")}/api/live`);
  expect(complaints).toEqual([]);
  await close();
});

test("without any socket the picture is the same when the text is written", async () => {
  const withSocket = await drawGenerated({});
  const without = await drawGenerated({
    prepare: () => {
      window.WebSocket = class {
        static OPEN = 1;
        constructor() {
          throw new DOMException("Refused by the policy of this page.", "SecurityError");
        }
      } as unknown as typeof WebSocket;
    },
  });
  expectSamePicture(without, withSocket);
});

/** The picture at the end of a text that was written while the page looked on. */
async function drawGenerated(options: OpenOptions): Promise<Pixels> {
  const { page, complaints, close } = await openPage(browser, inject("serverUrl"), {
    path: `/llm/${query}`,
    reducedMotion: true,
    ...options,
  });
  await waitForFullPicture(page);
  await page.getByTestId("generate").click();
  await waitForState(page, (state) => state.activity === "idle" && state.drawnSeed !== null);
  await waitForFullPicture(page);
  expect(await readState(page, (state) => state.trace?.tokens.length ?? 0)).toBeGreaterThan(NEW_TOKENS);
  const pixels = await readCanvasPixels(page);
  expect(complaints).toEqual([]);
  await close();
  return pixels;
}
