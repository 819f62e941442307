import { expect, test, vi } from "vitest";
import type { Matrix } from "../layout/Matrix";
import { MatrixQueue } from "./MatrixQueue";

function createJobs() {
  const asked: string[] = [];
  const cancelled: string[] = [];
  const answers = new Map<string, () => void>();
  const job = (key: string) => ({
    key,
    read: (signal: AbortSignal) =>
      new Promise<Matrix>((resolve, reject) => {
        asked.push(key);
        answers.set(key, () =>
          resolve({ address: key, axes: [], shape: [], level: 0, values: new Float32Array() }),
        );
        signal.addEventListener("abort", () => {
          cancelled.push(key);
          reject(signal.reason);
        });
      }),
  });
  const answer = async (key: string) => {
    answers.get(key)?.();
    await new Promise((resolve) => setTimeout(resolve));
  };
  return { asked, cancelled, job, answer };
}

test("reads in the order wanted, four at a time, and cancels what is no longer wanted", async () => {
  const { asked, cancelled, job, answer } = createJobs();
  const arrived: string[] = [];
  const queue = new MatrixQueue({ onResult: (key) => arrived.push(key), onFailure: () => {} });
  queue.want(["a", "b", "c", "d", "e", "f"].map(job));
  expect(asked).toEqual(["a", "b", "c", "d"]);
  await answer("b");
  expect(asked).toEqual(["a", "b", "c", "d", "e"]);
  queue.want(["a", "b", "e", "f"].map(job));
  expect(cancelled).toEqual(["c", "d"]);
  expect(asked.slice(5)).toEqual(["f"]);
  await answer("a");
  await answer("e");
  expect(arrived).toEqual(["b", "a", "e"]);
  queue.want(["a", "b"].map(job));
  expect(asked).toHaveLength(6);
});

test("what failed is read again when that is asked for, and only then", async () => {
  const failed: string[] = [];
  const arrived: string[] = [];
  let isAway = true;
  const job = (key: string) => ({
    key,
    read: async (): Promise<Matrix> => {
      if (isAway) throw new Error("away");
      return { address: key, axes: [], shape: [], level: 0, values: new Float32Array() };
    },
  });
  const queue = new MatrixQueue<Matrix>({
    onResult: (key) => arrived.push(key),
    onFailure: (key) => failed.push(key),
  });
  const settle = () => new Promise((resolve) => setTimeout(resolve));
  queue.want(["a", "b"].map(job));
  await settle();
  queue.want(["a", "b"].map(job));
  await settle();
  expect(failed).toEqual(["a", "b"]);
  isAway = false;
  queue.retry();
  await settle();
  expect(arrived).toEqual(["a", "b"]);
  queue.retry();
  await settle();
  expect(arrived).toHaveLength(2);
});

test("once forgotten, what is under way is ended and read again with all the rest, when it is wanted", async () => {
  const { asked, cancelled, job, answer } = createJobs();
  const arrived: string[] = [];
  const queue = new MatrixQueue({ onResult: (key) => arrived.push(key), onFailure: () => {} });
  queue.want(["a", "b"].map(job));
  await answer("a");
  queue.forget();
  expect(cancelled).toEqual(["b"]);
  queue.want(["a", "b"].map(job));
  expect(asked).toEqual(["a", "b", "a", "b"]);
  await answer("a");
  await answer("b");
  expect(arrived).toEqual(["a", "a", "b"]);
});

test("asked again after it was abandoned, only the second answer arrives, however late the first one is", async () => {
  const reads: ((value: string) => void)[] = [];
  const arrived: string[] = [];
  const failed: string[] = [];
  const queue = new MatrixQueue<string>({
    onResult: (_key, value) => arrived.push(value),
    onFailure: (key) => failed.push(key),
  });
  // As one that is answered from what is on its way already: it cannot be ended.
  const job = { key: "a", read: () => new Promise<string>((resolve) => reads.push(resolve)) };
  const settle = () => new Promise((resolve) => setTimeout(resolve));
  queue.want([job]);
  queue.abandon();
  queue.want([job]);
  expect(reads).toHaveLength(2);
  reads[0]?.("of the recording before");
  await settle();
  expect([arrived, queue.waiting]).toEqual([[], 1]);
  reads[1]?.("of this recording");
  await settle();
  expect([arrived, failed, queue.waiting]).toEqual([["of this recording"], [], 0]);
});

test("what came after it had failed is not read again by a later retry", async () => {
  let reads = 0;
  const job = {
    key: "a",
    read: async () => {
      reads += 1;
      if (reads === 1) throw new Error("away");
    },
  };
  const queue = new MatrixQueue<void>({ onResult: () => {}, onFailure: () => {} });
  const settle = () => new Promise((resolve) => setTimeout(resolve));
  queue.want([job]);
  await settle();
  // It fell out and is wanted anew.
  queue.want([]);
  queue.want([job]);
  await settle();
  queue.retry();
  await settle();
  expect(reads).toBe(2);
});

test("what may be answered later is asked again by itself, ever more seldom, and is known to have failed till then", async () => {
  vi.useFakeTimers();
  const asked: number[] = [];
  let isAway = true;
  const queue = new MatrixQueue<string>({
    onResult: () => {},
    onFailure: () => {},
    mayPass: (error) => (error as Error).message === "busy",
  });
  const startedAt = Date.now();
  queue.want([
    {
      key: "a",
      read: async () => {
        asked.push(Date.now() - startedAt);
        if (isAway) throw new Error("busy");
        return "here";
      },
    },
    {
      key: "b",
      read: async () => {
        throw new Error("no such tensor");
      },
    },
  ]);
  await vi.advanceTimersByTimeAsync(1);
  expect([...queue.failed]).toEqual(["a", "b"]);
  await vi.advanceTimersByTimeAsync(7_000);
  expect(asked).toEqual([0, 2_000, 6_000]);
  isAway = false;
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked).toHaveLength(4);
  expect([...queue.failed]).toEqual(["b"]);
  vi.useRealTimers();
});
