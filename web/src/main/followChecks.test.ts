import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Anatomy, CheckedParts, Site } from "../protocol/schema.generated";
import { createAppStore } from "../state/createAppStore";
import { findSite } from "../state/selectors";
import { tinyAnatomy } from "../state/tinyAnatomy";
import { createCheckFollower } from "./followChecks";

const unchecked = { status: "unchecked", max_abs_difference: null, worst: null, reason: null } as const;
const without = (sites: Site[]) => sites.map((site) => ({ ...site, check: unchecked }));
const nothing: Anatomy = {
  ...tinyAnatomy,
  checked: 0,
  parts: 2,
  before: without(tinyAnatomy.before),
  blocks: tinyAnatomy.blocks.map((block) => ({ ...block, sites: without(block.sites) })),
  after: without(tinyAnatomy.after),
};
const { before, blocks, after } = tinyAnatomy;
/** The first server checks the end first, the second one the beginning. */
const endFirst: CheckedParts = { before: [], blocks: [], after, parts: 2, checked: 1 };
const rest: CheckedParts = { before: [], blocks: [], after, parts: 2, checked: 2 };

const WAIT = { timeout: 10_000 };
let server: Server;
let isFirst = true;
let asked: string[] = [];

beforeEach(async () => {
  isFirst = true;
  asked = [];
  server = createServer((request, response) => {
    asked.push(request.url ?? "");
    if (request.url?.includes("/anatomy")) {
      response.end(JSON.stringify({ ...nothing, before, blocks, checked: 1 }));
      return;
    }
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write(`event: checked\ndata: ${JSON.stringify(isFirst ? endFirst : rest)}\n\n`);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  vi.stubGlobal("window", { location: { href: `http://127.0.0.1:${port}/llm` } });
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
  vi.unstubAllGlobals();
});

test("after the server was started anew its checks are followed from what its own anatomy says", {
  timeout: 30_000,
}, async () => {
  const store = createAppStore({ anatomy: nothing, connection: "online" });
  const statusOf = (address: string) => findSite(store.getState().anatomy, address)?.check.status;
  createCheckFollower(store)(nothing);
  await vi.waitUntil(() => statusOf("lm_head") === "exact", WAIT);
  expect(statusOf("embeddings")).toBe("unchecked");
  isFirst = false;
  server.closeAllConnections();
  store.setState({ connection: "lost" });
  store.setState({ connection: "online" });
  await vi.waitUntil(() => store.getState().anatomy?.checked === 2, WAIT);
  expect(statusOf("embeddings")).toBe("exact");
  expect(statusOf("attn_probs.0")).toBe("exact");
  expect(statusOf("lm_head")).toBe("exact");
  expect(store.getState().anatomy?.weights).toBe(nothing.weights);
  expect(asked).toEqual([
    "/api/models/tiny/checks?after=0",
    "/api/models/tiny/anatomy",
    "/api/models/tiny/checks?after=1",
  ]);
});
