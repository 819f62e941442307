import { expect, test } from "vitest";
import { createAppStore, DEFAULT_SAMPLING } from "./createAppStore";
import { readUrl, writeUrl } from "./urlState";

const view = {
  prompt: "Who has the ball? Mia & Tom,\n50 % 日本",
  maxNewTokens: 40,
  sampling: { ...DEFAULT_SAMPLING, temperature: 0, top_k: 5, presence_penalty: -0.5, seed: 7 },
  drawnSeed: 7,
  position: 3,
  selection: { address: "attn_probs.2", index: [1, 5, 3] },
};

test("what is written is read back", () => {
  const written = writeUrl(createAppStore(view).getState(), "owner/name");
  expect(readUrl(written)).toEqual({ traceId: null, modelId: "owner/name", ...view });
});

test("a link to a recording names it, and not how it could be made again", () => {
  const written = writeUrl(createAppStore({ ...view, linkedTraceId: "0a1b" }).getState(), "tales");
  expect(written).toBe("?trace=0a1b&position=3&cell=attn_probs.2:1,5,3");
  expect(readUrl(written)).toMatchObject({ traceId: "0a1b", position: 3, selection: view.selection });
});

test("an address can be read by people", () => {
  const state = createAppStore({ ...view, prompt: "Mia has a ball." }).getState();
  expect(writeUrl(state, "tales")).toBe(
    "?model=tales&prompt=Mia+has+a+ball.&tokens=40&temperature=0&top_k=5&presence_penalty=-0.5&seed=7&drawn=7&position=3&cell=attn_probs.2:1,5,3",
  );
});

test("an untouched page has a short address", () => {
  expect(writeUrl(createAppStore().getState(), "tales")).toBe("?model=tales");
  expect(writeUrl(createAppStore().getState(), null)).toBe("");
});

test("nonsense is left at its default", () => {
  const read = readUrl(
    "?temperature=hot&min_p=2&typical_p=0&frequency_penalty=3&top_k=-1&top_p=0&tokens=1.5&seed=1e99&position=-2&cell=q.0:a,b",
  );
  expect(read.sampling).toEqual(DEFAULT_SAMPLING);
  expect(read).toMatchObject({
    maxNewTokens: 24,
    position: null,
    selection: null,
    modelId: null,
    prompt: null,
  });
});
