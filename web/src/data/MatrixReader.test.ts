import { execFileSync } from "node:child_process";
import { createReadStream, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { startWords } from "../panels/words/startWords";
import { MatrixReader } from "./MatrixReader";
import type { StoreSource } from "./Source";

beforeAll(() => startWords("en"));

const python =
  process.env.GLASSFORMER_PYTHON ?? fileURLToPath(new URL("../../../.venv/bin/python", import.meta.url));

/** What zarr-python writes, the page must read: two levels of one site, with a masked cell. */
const WRITE_STORE = `
import sys
import numpy as np
import zarr
root = zarr.open_group(sys.argv[1], mode="w", zarr_format=3)
group = root.create_group("attn_scores.0", attributes={"levels": 2, "axes": ["head", "query", "key"]})
values = np.arange(2 * 3 * 5, dtype="f4").reshape(2, 3, 5)
values[1, 0, 4] = -np.inf
for level, array in [("0", values), ("1", values[:, ::2, ::2])]:
    written = group.create_array(
        level, shape=array.shape, dtype="f4", chunks=(2, 2, 2), compressors=None,
        dimension_names=["head", "query", "key"], fill_value=float("nan"),
    )
    written[...] = array
stream = root.create_group("resid_post.0", attributes={"levels": 1, "axes": ["pos", "d_model"]})
stream.create_array("0", shape=(3, 4), dtype="f4", chunks=(3, 4), compressors=None)[...] = 1
coarse = root.create_group("coarse", attributes={"levels": 2, "first_level": 1, "axes": ["row", "column"]})
coarse.create_array("1", shape=(2, 3), dtype="f4", chunks=(2, 3), compressors=None)[...] = 1
zarr.consolidate_metadata(root.store)
`;

const STORE = { kind: "recording", traceId: "t", positions: 3 } as const;
const folder = mkdtempSync(join(tmpdir(), "glassformer-"));
let server: Server;
let source: StoreSource;
let asked: string[] = [];
let slow = false;

beforeAll(async () => {
  execFileSync(python, ["-W", "ignore", "-c", WRITE_STORE, join(folder, "store.zarr")]);
  server = createServer((request, response) => {
    const path = new URL(request.url ?? "", "http://localhost").pathname;
    asked.push(path);
    if (!existsSync(join(folder, path))) response.writeHead(404).end();
    else setTimeout(() => createReadStream(join(folder, path)).pipe(response), slow ? 300 : 0);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  source = {
    holds: () => true,
    storeUrl: () => new URL(`http://127.0.0.1:${port}/store.zarr`),
    fetchKey: (request) => fetch(request),
  };
});
beforeEach(() => {
  asked = [];
  slow = false;
});
afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true });
});

const never = new AbortController().signal;

test("a store written by zarr-python is read, chunk by chunk, into one matrix", async () => {
  const matrix = await new MatrixReader(source).read(
    { store: STORE, name: "attn_scores.0", level: 0 },
    never,
  );
  expect(matrix).toMatchObject({ axes: ["head", "query", "key"], shape: [2, 3, 5], level: 0 });
  const expected = Float32Array.from({ length: 30 }, (_, at) => at);
  expected[19] = Number.NEGATIVE_INFINITY;
  expect(matrix.values).toEqual(expected);
  expect(asked.filter((path) => path.endsWith("zarr.json"))).toHaveLength(1);
});

test("a level past the last stands for the last, and what was read is not asked for again", async () => {
  const reader = new MatrixReader(source);
  const address = { store: STORE, name: "attn_scores.0", level: 7 };
  expect(await reader.read(address, never)).toMatchObject({ level: 1, shape: [2, 2, 3] });
  const before = asked.length;
  await reader.read(address, never);
  expect(asked).toHaveLength(before);
});

test("equal requests share one answer; one that nobody waits for is cancelled", async () => {
  slow = true;
  const reader = new MatrixReader(source);
  const address = { store: STORE, name: "attn_scores.0", level: 0 };
  const [one, other] = [new AbortController(), new AbortController()];
  const first = reader.read(address, one.signal);
  const second = reader.read(address, other.signal);
  one.abort();
  await expect(first).rejects.toThrow("aborted");
  expect((await second).shape).toEqual([2, 3, 5]);
  expect(new Set(asked).size).toBe(asked.length);
});

test("what is not there is an error, not an empty matrix", async () => {
  const address = { store: STORE, name: "nowhere", level: 0 };
  await expect(new MatrixReader(source).read(address, never)).rejects.toThrow();
});

test("a chunk that is cut off or gone is told, not shown as NaN", async () => {
  const address = { store: STORE, name: "attn_scores.0", level: 0 };
  const chunk = join(folder, "store.zarr/attn_scores.0/0/c/0/0/0");
  const whole = readFileSync(chunk);
  writeFileSync(chunk, whole.subarray(0, 12));
  await expect(new MatrixReader(source).read(address, never)).rejects.toThrow("cut off");
  rmSync(chunk);
  await expect(new MatrixReader(source).read(address, never)).rejects.toThrow("missing");
  writeFileSync(chunk, whole);
  await expect(new MatrixReader(source).read(address, never)).resolves.toMatchObject({ level: 0 });
});

test("where the finest level was left out, the finest there is stands for it", async () => {
  const address = { store: STORE, name: "coarse", level: 0 };
  expect(await new MatrixReader(source).read(address, never)).toMatchObject({ level: 1, shape: [2, 3] });
});

test("rows that the server has replaced are read again, and what was on its way of the old ones is not kept", async () => {
  const reader = new MatrixReader(source);
  const wanted = { store: STORE, name: "attn_scores.0", level: 0 };
  reader.rows.turnTo("t", 0);
  await reader.read(wanted, never);
  expect(reader.rows.valueAt("attn_scores.0", [0, 1, 1])).toBe(6);
  asked = [];
  reader.forgetRows("t");
  expect(reader.rows.valueAt("attn_scores.0", [0, 1, 1])).toBeNull();
  slow = true;
  const early = reader.read(wanted, never);
  reader.forgetRows("t");
  await early;
  expect(reader.rows.valueAt("attn_scores.0", [0, 1, 1])).toBeNull();
  await reader.read(wanted, never);
  expect(reader.rows.valueAt("attn_scores.0", [0, 1, 1])).toBe(6);
  const chunks = asked.filter((path) => path.includes("/c/"));
  expect(chunks).toHaveLength(2 * new Set(chunks).size);
});

test("one head is read without the others, and what was read of it is known", async () => {
  const reader = new MatrixReader(source);
  reader.rows.turnTo("t", 0);
  const head = { store: STORE, name: "attn_scores.0", level: 0, lead: 1 };
  const matrix = await reader.read(head, never);
  expect(matrix).toMatchObject({ address: "attn_scores.0", shape: [1, 3, 5], lead: 1 });
  expect(matrix.values[0]).toBe(15);
  expect(reader.valueAt({ address: "attn_scores.0", index: [1, 2, 1] })).toBe(26);
  expect(reader.valueAt({ address: "attn_scores.0", index: [0, 2, 1] })).toBeNull();
  asked = [];
  expect((await reader.read(head, never)).values[0]).toBe(15);
  expect(asked).toEqual([]);
});

test("a part is read by the chunks that it lies in", async () => {
  const reader = new MatrixReader(source);
  const part = { row: 2, column: 2, rows: 2, columns: 2 };
  const matrix = await reader.read({ store: STORE, name: "attn_scores.0", level: 0, lead: 0, part }, never);
  expect(matrix).toMatchObject({ shape: [1, 1, 2], part: { row: 2, column: 2, ofRows: 3, ofColumns: 5 } });
  expect([...matrix.values]).toEqual([12, 13]);
  expect(asked.filter((path) => path.includes("/c/"))).toEqual(["/store.zarr/attn_scores.0/0/c/0/1/1"]);
});

test("small tensors are read together, all heads at once, and only what is missing when the text goes on", async () => {
  const requests: string[] = [];
  const cell = (head: number, row: number, key: number) => head * 100 + row * 10 + key;
  const reader = new MatrixReader({
    ...source,
    readRows: async (traceId, { addresses, start, stop }) => {
      requests.push(`${addresses} ${start}-${stop}`);
      const values: number[] = [];
      for (const head of [0, 1])
        for (let row = start; row < stop; row++)
          for (let key = 0; key < stop; key++) values.push(cell(head, row, key));
      const array = { shape: [2, stop - start, stop], values: Float32Array.from(values) };
      return { traceId, start, stop, arrays: addresses.map((address) => ({ address, ...array })) };
    },
  });
  reader.rows.turnTo("t", 0);
  const site = (name: string, count: number) => ({
    name,
    axes: ["head", "query", "key"],
    shape: [2, count, count],
  });
  const read = (name: string, positions: number) =>
    reader.readTogether({ ...STORE, positions }, site(name, positions), 0, never);
  const [found] = await Promise.all([read("attn_scores.0", 2), read("attn_probs.0", 2)]);
  expect(requests).toEqual(["attn_scores.0,attn_probs.0 0-2"]);
  expect(found?.map(({ lead, shape }) => [lead, shape])).toEqual([
    [0, [1, 2, 2]],
    [1, [1, 2, 2]],
  ]);
  expect([...(found?.[1]?.values ?? [])]).toEqual([100, 101, 110, 111]);
  const grown = await read("attn_scores.0", 3);
  expect(requests.slice(1)).toEqual(["attn_scores.0 2-3"]);
  expect(grown?.[1]?.values.slice(6)).toEqual(Float32Array.of(120, 121, 122));
  await read("attn_scores.0", 3);
  expect(requests).toHaveLength(2);
  expect(asked).toEqual([]);
});

test.each(["together first", "alone first"])(
  "a tensor that is asked for in two ways is read once: %s",
  async (order) => {
    const requests: string[] = [];
    const reader = new MatrixReader({
      ...source,
      readRows: async (traceId, { addresses, start, stop }) => {
        requests.push(`${addresses} ${start}-${stop}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
        const array = { shape: [stop - start, 4], values: new Float32Array(4 * (stop - start)).fill(1) };
        return { traceId, start, stop, arrays: addresses.map((address) => ({ address, ...array })) };
      },
    });
    reader.rows.turnTo("t", 0);
    const site = { name: "resid_post.0", axes: ["pos", "d_model"], shape: [3, 4] };
    const asks = [
      () => reader.readTogether(STORE, site, 0, never).then((found) => found?.[0]),
      () => reader.read({ store: STORE, name: site.name, level: 0 }, never),
    ];
    const found = await Promise.all((order === "alone first" ? asks.toReversed() : asks).map((ask) => ask()));
    for (const matrix of found) expect(matrix?.values).toEqual(new Float32Array(12).fill(1));
    const chunks = asked.filter((path) => path.includes("/c/"));
    expect(requests.length + chunks.length).toBe(1);
    // One that is given up leaves the way free for those after it.
    const gone = new AbortController();
    const left = reader.readTogether({ ...STORE, positions: 4 }, { ...site, shape: [4, 4] }, 0, gone.signal);
    const next = reader.readTogether({ ...STORE, positions: 4 }, { ...site, shape: [4, 4] }, 0, never);
    gone.abort();
    await expect(left).rejects.toThrow("aborted");
    expect((await next)?.[0]?.shape).toEqual([4, 4]);
  },
);
