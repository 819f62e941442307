import { createServer, request, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { launchBrowser, openPage } from "./browser.ts";
import { readCanvasPixels, readState, waitForFullPicture, waitForState } from "./drive.ts";

/** What stands before the page on the host that the browser knows. */
const PREFIX = "/user/mia/proxy/1";

let proxy: Server;
let host: string;

/** A proxy as a JupyterHub has it: takes its prefix off and hands on the rest, sockets too. It serves nothing else. */
beforeAll(async () => {
  const { hostname, port } = new URL(inject("serverUrl"));
  proxy = createServer((asked, answer) => {
    const path = asked.url ?? "";
    if (!path.startsWith(`${PREFIX}/`)) {
      answer.writeHead(404).end();
      return;
    }
    const { method, headers } = asked;
    const behind = request({ hostname, port, path: path.slice(PREFIX.length), method, headers }, (found) => {
      answer.writeHead(found.statusCode ?? 502, found.headers);
      found.pipe(answer);
    });
    behind.on("error", () => answer.destroy());
    answer.on("close", () => behind.destroy());
    asked.pipe(behind);
  });
  proxy.on("upgrade", (asked, socket, head) => {
    const behind = connect(Number(port), hostname, () => {
      const lines = asked.rawHeaders.flatMap((name, at) =>
        at % 2 === 0 ? [`${name}: ${asked.rawHeaders[at + 1]}`] : [],
      );
      behind.write(`GET ${asked.url?.slice(PREFIX.length)} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`);
      behind.write(head);
      socket.pipe(behind).pipe(socket);
    });
    for (const [one, other] of [
      [behind, socket],
      [socket, behind],
    ] as const)
      one.on("error", () => other.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  host = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
});
afterAll(() => {
  proxy.closeAllConnections();
  proxy.close();
});

test("behind a proxy, under a path of its host, the page is whole and writes", async () => {
  const browser = await launchBrowser();
  const asked: string[] = [];
  const { page, complaints } = await openPage(browser, host, {
    path: `${PREFIX}/?model=sorter`,
    reducedMotion: true,
    onRequest: (url) => asked.push(new URL(url).pathname),
  });
  await page.waitForURL((url) => url.pathname === `${PREFIX}/llm`);
  await page.goto(`${host}${PREFIX}/llm?model=sorter&prompt=CBABBC`);
  await waitForFullPicture(page);
  expect((await readCanvasPixels(page)).drawnShare).toBeGreaterThan(0.05);
  await page.getByTestId("generate").click();
  await waitForState(page, (state) => state.activity === "idle" && (state.trace?.tokens.length ?? 0) > 6);
  expect(await readState(page, (state) => state.connection)).toBe("online");
  expect(asked.filter((path) => !path.startsWith(`${PREFIX}/`))).toEqual([]);
  expect(complaints).toEqual([]);
  await browser.close();
});
