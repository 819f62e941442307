import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Fidelity } from "./Fidelity";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("a fast device draws everything in full", () => {
  const fidelity = new Fidelity(() => {});
  for (let now = 0; now < 1000; now += 16) expect(fidelity.choose(now, true)).toBe(1);
  expect(fidelity.isSlow).toBe(false);
});

test("a slow device moves at fewer pixels and rests in full", () => {
  const refine = vi.fn();
  const fidelity = new Fidelity(refine);
  let share = 1;
  for (let now = 0; now < 2000; now += 200) share = fidelity.choose(now, true);
  expect(share).toBeLessThan(1);
  vi.advanceTimersByTime(1000);
  expect(refine).toHaveBeenCalledTimes(1);
  expect(fidelity.choose(3000, false)).toBe(1);
});

test("a pause is no slow frame", () => {
  const fidelity = new Fidelity(() => {});
  for (let now = 0; now < 20_000; now += 2000) expect(fidelity.choose(now, true)).toBe(1);
});
