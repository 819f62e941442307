import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { launchBrowser, openPage } from "./browser.ts";
import { waitForFullPicture } from "./drive.ts";

/** A name of this machine that the server has never heard of. */
const STRANGER = "stranger.example";

let host: Server;
let port: number;
let browser: Browser;

/** A notebook as far as the page sees it: another program of this machine, whose pages hold the page in a frame. */
beforeAll(async () => {
  host = createServer((_, answer) => {
    answer.setHeader("Content-Type", "text/html");
    answer.end(`<iframe src="${inject("serverUrl")}/llm?model=sorter" width="1200" height="700"></iframe>`);
  });
  await new Promise<void>((resolve) => host.listen(0, "127.0.0.1", resolve));
  port = (host.address() as AddressInfo).port;
  browser = await launchBrowser([`--host-resolver-rules=MAP ${STRANGER} 127.0.0.1`]);
});
afterAll(async () => {
  await browser.close();
  host.closeAllConnections();
  host.close();
});

/** Opens the host's page under `name`, and gives the frame in it. */
async function openFramed(name: string) {
  const { page, complaints, close } = await openPage(browser, `http://${name}:${port}`, { path: "/" });
  const frame = page.frames()[1];
  if (!frame) throw new Error("the host's page has no frame");
  return { frame, complaints, close };
}

test.each(["127.0.0.1", "localhost"])("a notebook at another port of %s shows the page", async (name) => {
  const { frame, complaints, close } = await openFramed(name);
  await frame.getByTestId("prompt").waitFor();
  expect(complaints).toEqual([]);
  await close();
});

test("a page of somebody else does not", async () => {
  const { frame, complaints, close } = await openFramed(STRANGER);
  expect(await frame.getByTestId("prompt").count()).toBe(0);
  expect(complaints.join(" ")).toContain("frame-ancestors");
  await close();
});

test("no script runs that is not a file of the page", async () => {
  const { page, complaints, close } = await openPage(browser, inject("serverUrl"), {
    path: "/llm?model=sorter",
  });
  await waitForFullPicture(page);
  expect(complaints).toEqual([]);
  await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "document.title = 'taken'";
    document.body.append(script);
    document.body.insertAdjacentHTML("beforeend", `<img src="data:," onerror="document.title = 'taken'">`);
  });
  await expect.poll(() => complaints.filter((each) => each.includes("script-src")).length).toBeGreaterThan(1);
  expect(await page.title()).not.toBe("taken");
  await close();
});
