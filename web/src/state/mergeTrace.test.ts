import { expect, test } from "vitest";
import type { Step } from "../protocol/schema.generated";
import { createAppStore } from "./createAppStore";
import { addSteps, mergeTrace } from "./mergeTrace";
import { tinyTrace } from "./tinyTrace";

const running = { ...tinyTrace, status: "running" as const };
const step = (pos: number): Step => ({
  pos,
  token: { id: pos, text: ` ${pos}`, special: false },
  probability: 0.5,
  model_probability: 0.4,
  text: ` ${pos}`,
});

test("steps add tokens in order, and each says that what came before is recorded", () => {
  const store = createAppStore({ trace: running, activity: "generating" });
  store.setState((state) => addSteps(state, [step(3), step(4)]));
  store.setState((state) => addSteps(state, [step(4), step(5)]));
  const { trace, steps } = store.getState();
  expect(trace?.tokens.map((token) => token.text)).toEqual(["A", "B", "C", " 3", " 4", " 5"]);
  expect(trace?.positions).toBe(5);
  expect(Object.keys(steps)).toEqual(["3", "4", "5"]);
});

test("a state repeated after a reconnection takes nothing back", () => {
  const store = createAppStore({ trace: running, activity: "generating", connection: "lost" });
  store.setState((state) => addSteps(state, [step(3), step(4)]));
  store.setState((state) => mergeTrace(state, running));
  expect(store.getState().trace?.tokens).toHaveLength(5);
  expect(store.getState().trace?.positions).toBe(4);
  expect(store.getState()).toMatchObject({ connection: "online", activity: "generating" });
});

test("that rows were replaced is not taken back either", () => {
  const store = createAppStore({ trace: running, activity: "generating" });
  store.setState((state) => mergeTrace(state, { ...running, rewritten: 1 }));
  store.setState((state) => addSteps(state, [step(3)]));
  store.setState((state) => mergeTrace(state, running));
  expect(store.getState().trace?.rewritten).toBe(1);
});

test("the last state counts, and frees the hands", () => {
  const store = createAppStore({ trace: running, activity: "stopping" });
  store.setState((state) => addSteps(state, [step(3), step(4)]));
  const last = { ...tinyTrace, status: "stopped" as const, finish_reason: "cancelled" as const };
  store.setState((state) => mergeTrace(state, last));
  expect(store.getState()).toMatchObject({ activity: "idle", trace: last, runError: null });
});

test("a failure is told in the server's words", () => {
  const store = createAppStore({ trace: running, activity: "generating" });
  const failed = { ...tinyTrace, status: "failed" as const, error: "Out of memory." };
  store.setState((state) => mergeTrace(state, failed));
  expect(store.getState()).toMatchObject({ activity: "idle", runError: "Out of memory." });
});

test("another recording's events are not ours", () => {
  const state = createAppStore({ trace: running }).getState();
  expect(mergeTrace(state, { ...tinyTrace, id: "b" })).toEqual({});
  expect(addSteps(createAppStore().getState(), [step(0)])).toEqual({});
});
