import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launchBrowser, openPage } from "./browser.ts";
import { readState, waitForFullPicture, waitForState } from "./drive.ts";
import { type RunningServer, startServer } from "./server.ts";

const KEY = "a secret for a class";

let server: RunningServer;
let browser: Browser;

beforeAll(async () => {
  server = await startServer(["--api-key", KEY], { Authorization: `Bearer ${KEY}` });
  browser = await launchBrowser();
});
afterAll(async () => {
  await browser.close();
  await server.stop();
});

test("a server that wants a key is given one, and then all of the page works", async () => {
  const { page, complaints, close } = await openPage(browser, server.url, { reducedMotion: true });
  const dialog = page.getByTestId("key-dialog");
  await dialog.waitFor();
  expect(await page.evaluate(() => document.activeElement?.getAttribute("data-testid"))).toBe("key-input");
  expect(await dialog.getByText("not accepted").isVisible()).toBe(false);
  await page.keyboard.press("Escape");
  expect(await dialog.isVisible()).toBe(true);

  await page.getByTestId("key-input").fill("a wrong one, surely");
  await page.keyboard.press("Enter");
  await dialog.getByRole("alert").waitFor();

  await page.getByTestId("key-input").fill(KEY);
  await page.keyboard.press("Enter");
  await waitForFullPicture(page);
  expect(await dialog.count()).toBe(0);
  complaints.splice(0);

  // Every way to the server carries the key: plain requests, event streams, the WebSocket, the store.
  const session = await page.context().newCDPSession(page);
  await session.send("Network.enable");
  const handshake = new Promise<number>((resolve) =>
    session.on("Network.webSocketHandshakeResponseReceived", ({ response }) => resolve(response.status)),
  );
  await page.getByTestId("max-new-tokens").fill("12");
  await page.getByTestId("generate").click();
  expect(await handshake).toBe(101);
  await waitForState(page, (state) => state.activity === "idle" && (state.trace?.finish_reason ?? "") !== "");
  expect(await readState(page, (state) => [state.connection, state.runError])).toEqual(["online", null]);
  expect(complaints).toEqual([]);

  // A page that is loaded again in this tab has not forgotten it; it is nowhere but in this tab.
  await page.reload();
  await waitForFullPicture(page);
  expect(await page.getByTestId("key-dialog").count()).toBe(0);
  expect(await page.evaluate(() => JSON.stringify({ ...window.localStorage }))).not.toContain(KEY);
  expect(page.url()).not.toContain("secret");
  expect(complaints).toEqual([]);
  await close();
});
