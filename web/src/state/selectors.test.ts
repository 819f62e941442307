import { expect, test } from "vitest";
import { createAppStore } from "./createAppStore";
import {
  countRun,
  findSite,
  findWeight,
  isRecorded,
  linkedTokens,
  shownPosition,
  tokenAt,
  whyNotInspected,
} from "./selectors";
import { tinyAnatomy } from "./tinyAnatomy";
import { tinyTrace as trace } from "./tinyTrace";
import { whyNotRun } from "./whyNotRun";

test("a run needs a model, a prompt that fits, and a free hand", () => {
  const store = createAppStore();
  const why = () => whyNotRun(store.getState());
  expect(why()).toBe("noModel");
  store.setState({ anatomy: tinyAnatomy });
  expect(why()).toBe("emptyPrompt");
  store.setState({ prompt: "ABC" });
  expect(why()).toBeNull();
  store.setState({ activity: "generating" });
  expect(why()).toBe("busy");
  const twelve = Array.from({ length: 12 }, (_, id) => ({ id, text: "A", special: false }));
  store.setState({
    activity: "idle",
    liveTokens: { status: "ready", value: twelve, error: null, prompt: "ABC" },
  });
  expect(why()).toBe("tooLong");
  store.setState({ prompt: "AB" });
  expect(why()).toBeNull();
  store.setState({ opening: { modelId: "other", progress: null } });
  expect(why()).toBe("opening");
});

test("tokens that are left off are not counted", () => {
  const store = createAppStore();
  const tokens = [0, 0, 5].map((id, at) => ({ id, text: "A", special: false, leftOff: at === 0 }));
  expect(countRun(store.getState())).toBeNull();
  store.setState({ liveTokens: { status: "ready", value: tokens, error: null, prompt: "A" } });
  expect(countRun(store.getState())).toBe(2);
});

test("a linked recording's tokens stand for its text until it is edited", () => {
  const store = createAppStore();
  const linkedPrompt = { modelId: "tiny", text: "ABC", tokens: trace.tokens };
  store.setState({ anatomy: tinyAnatomy, linkedPrompt, prompt: "ABC" });
  expect(linkedTokens(store.getState())).toBe(trace.tokens);
  store.setState({ prompt: "ABCD" });
  expect(linkedTokens(store.getState())).toBeNull();
  store.setState({ prompt: "ABC", anatomy: { ...tinyAnatomy, model_id: "another" } });
  expect(linkedTokens(store.getState())).toBeNull();
});

test("the shown position follows the newest unless one is chosen", () => {
  const store = createAppStore();
  expect(shownPosition(store.getState())).toBeNull();
  store.setState({ trace });
  expect(shownPosition(store.getState())).toBe(2);
  store.setState({ position: 1 });
  expect(shownPosition(store.getState())).toBe(1);
  store.setState({ position: 99 });
  expect(shownPosition(store.getState())).toBe(2);
  store.setState({ position: null, trace: { ...trace, prompt_count: 1 } });
  expect(shownPosition(store.getState())).toBe(1);
});

test("only axes that count tokens have tokens", () => {
  const state = createAppStore({ trace }).getState();
  expect(tokenAt(state, "key", 1)?.text).toBe("B");
  expect(tokenAt(state, "d_model", 1)).toBeNull();
  // Of the vocabulary those are known that have been seen anywhere.
  const [first] = state.trace?.tokens ?? [];
  expect(tokenAt(state, "vocab", first?.id ?? -1)).toEqual(first);
  expect(tokenAt(state, "vocab", 99_999)).toBeNull();
});

test("a cell has a value once its position is recorded; a weight always has", () => {
  const state = createAppStore({ anatomy: tinyAnatomy, trace }).getState();
  expect(isRecorded(state, { address: "attn_probs.0", index: [1, 2, 2] })).toBe(true);
  expect(isRecorded(state, { address: "attn_probs.0", index: [1, 2, 3] })).toBe(false);
  expect(isRecorded(state, { address: "q.weight", index: [7, 7] })).toBe(true);
  expect(isRecorded(state, { address: "nowhere", index: [0] })).toBe(false);
  expect(findSite(tinyAnatomy, "lm_head")?.axes).toEqual(["pos", "vocab"]);
  expect(findWeight(null, "q.weight")).toBeNull();
});

test("what cannot be inspected says why: no such name, refused, too few indices, one too large", () => {
  const [site] = tinyAnatomy.before;
  if (!site) throw new Error("no site");
  const check = { ...site.check, status: "refused" as const, reason: "it differs" };
  const anatomy = { ...tinyAnatomy, before: [{ ...site, address: "opaque", check }] };
  const state = createAppStore({ anatomy, trace }).getState();
  const why = (address: string, ...index: number[]) => whyNotInspected(state, { address, index });
  expect(why("nowhere", 0)).toEqual({ key: "unknown", address: "nowhere" });
  expect(why("opaque", 0, 0)).toMatchObject({ key: "refused", reason: "it differs" });
  expect(why("attn_probs.0", 1)).toMatchObject({ key: "indices", number: 3 });
  expect(why("attn_probs.0", 1, 2, 3)).toMatchObject({ key: "outside", axis: "key", index: 3, number: 3 });
  expect(why("attn_probs.0", 1, 2, 2)).toBeNull();
  expect(why("q.weight", 700, 7)).toMatchObject({ key: "outside", index: 700 });
  const running = { ...state, trace: { ...trace, status: "running" as const } };
  expect(whyNotInspected(running, { address: "attn_probs.0", index: [1, 2, 3] })).toBeNull();
});
