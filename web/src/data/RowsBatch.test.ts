import { beforeAll, expect, test } from "vitest";
import { startWords } from "../panels/words/startWords";
import type { LiveFrame } from "../protocol/LiveFrame";
import { RowsBatch } from "./RowsBatch";
import type { RowsReference } from "./Source";

beforeAll(() => startWords("en"));

const PLACE = { traceId: "t", start: 3, stop: 5, level: 0 };

/** A batch whose requests are answered by hand. */
function batchOf() {
  const asked: { rows: RowsReference; signal: AbortSignal; answer(addresses?: readonly string[]): void }[] =
    [];
  const batch = new RowsBatch(
    (traceId, rows, signal) =>
      new Promise<LiveFrame>((resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
        const answer = (addresses = rows.addresses) =>
          resolve({
            traceId,
            start: rows.start,
            stop: rows.stop,
            arrays: addresses.map((address) => ({ address, shape: [2, 1], values: Float32Array.of(1, 2) })),
          });
        asked.push({ rows, signal, answer });
      }),
  );
  return { batch, asked };
}

const soon = () => new Promise((resolve) => setTimeout(resolve, 5));
const never = () => new AbortController().signal;

test("the same rows of several tensors are one request", async () => {
  const { batch, asked } = batchOf();
  const all = ["a", "b", "c"].map((name) => batch.read(PLACE, name, 2, never()));
  const other = batch.read({ ...PLACE, stop: 6 }, "a", 3, never());
  await soon();
  expect(asked.map(({ rows }) => rows.addresses)).toEqual([["a", "b", "c"], ["a"]]);
  for (const { answer } of asked) answer();
  expect((await Promise.all(all)).map(({ address }) => address)).toEqual(["a", "b", "c"]);
  expect((await other).address).toBe("a");
});

test("who waits for the same tensor shares one answer", async () => {
  const { batch, asked } = batchOf();
  const all = Array.from({ length: 90 }, () => batch.read(PLACE, "a", 2 ** 19, never()));
  await soon();
  expect(asked.map(({ rows }) => rows.addresses)).toEqual([["a"]]);
  asked[0]?.answer();
  expect(new Set(await Promise.all(all)).size).toBe(1);
});

test("a request holds no more than a server answers", async () => {
  const { batch, asked } = batchOf();
  for (const name of ["a", "b", "c"]) void batch.read(PLACE, name, 2 ** 19, never());
  for (let at = 0; at < 70; at += 1) void batch.read({ ...PLACE, level: 1 }, `${at}`, 1, never());
  await soon();
  expect(asked.map(({ rows }) => rows.addresses.length).sort()).toEqual([1, 2, 6, 64]);
});

test("one that leaves takes nobody's answer away, and the last one ends the request", async () => {
  const { batch, asked } = batchOf();
  const [one, other] = [new AbortController(), new AbortController()];
  const left = batch.read(PLACE, "a", 1, one.signal).catch((error: Error) => error.name);
  const stayed = batch.read(PLACE, "b", 1, other.signal);
  await soon();
  one.abort();
  expect(await left).toBe("AbortError");
  expect(asked[0]?.signal.aborted).toBe(false);
  asked[0]?.answer();
  expect((await stayed).address).toBe("b");

  const last = batch.read(PLACE, "c", 1, other.signal).catch((error: Error) => error.name);
  await soon();
  other.abort();
  expect(await last).toBe("AbortError");
  expect(asked[1]?.signal.aborted).toBe(true);
});

test("a tensor that the answer leaves out is a failure of its own", async () => {
  const { batch, asked } = batchOf();
  const [there, missing] = ["a", "b"].map((name) => batch.read(PLACE, name, 1, never()));
  await soon();
  asked[0]?.answer(["a"]);
  expect((await there)?.address).toBe("a");
  await expect(missing).rejects.toThrow("b");
});
