import { expect, test, vi } from "vitest";
import { ArrivalBatch } from "./ArrivalBatch";

test("what arrives together is handed on together, once", () => {
  vi.useFakeTimers();
  const handed: number[][] = [];
  const batch = new ArrivalBatch<number>(40, (items) => handed.push(items));
  batch.add(1);
  batch.add(2);
  vi.advanceTimersByTime(39);
  expect(handed).toEqual([]);
  vi.advanceTimersByTime(1);
  batch.add(3);
  batch.flush();
  vi.advanceTimersByTime(100);
  expect(handed).toEqual([[1, 2], [3]]);
  vi.useRealTimers();
});
