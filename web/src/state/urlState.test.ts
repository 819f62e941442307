import { expect, test } from "vitest";
import { TALES } from "../layout/sampleAnatomy";
import { sampleShape } from "../layout/sampleShape";
import { createAppStore, DEFAULT_SAMPLING } from "./createAppStore";
import { GIVEN_TEXT } from "./Recipe";
import { tinyTrace } from "./tinyTrace";
import { isMadeBy, readUrl, writeUrl } from "./urlState";

const view = {
  prompt: "Who has the ball? Mia & Tom,\n50 % 日本",
  maxNewTokens: 40,
  sampling: { ...DEFAULT_SAMPLING, temperature: 0, top_k: 5, presence_penalty: -0.5, seed: 7 },
  drawnSeed: 7,
  position: 3,
  versus: 7476,
  off: ["head.24.4", "token.17"],
  selection: { address: "attn_probs.2", index: [1, 5, 3] },
};

test("what is written is read back", () => {
  const written = writeUrl(createAppStore(view).getState(), "owner/name");
  expect(readUrl(written)).toEqual({
    traceId: null,
    modelId: "owner/name",
    shapeIds: [],
    given: GIVEN_TEXT,
    pose: null,
    unread: [],
    ...view,
  });
});

test("a link to a recording names it, and not how it could be made again", () => {
  const written = writeUrl(createAppStore({ ...view, linkedTraceId: "0a1b" }).getState(), "tales");
  expect(written).toBe("?trace=0a1b&position=3&versus=7476&off=head.24.4,token.17&cell=attn_probs.2:1,5,3");
  expect(readUrl(written)).toMatchObject({ traceId: "0a1b", position: 3, selection: view.selection });
});

test("what a recording was given beyond a text is read back too, and decides whether it is the same", () => {
  const given = {
    tokenIds: [1, 20, 300],
    messages: [{ role: "user" as const, content: "Who & what, 50 %?" }],
    answerFrom: 2,
    forced: [7],
    interventions: [{ address: "z.1", operation: "zero" as const, value: null, index: { head: [3] } }],
  };
  const { prompt, maxNewTokens, sampling } = view;
  const made = { maxNewTokens, sampling, given };
  const state = createAppStore({ ...view, made, tracePrompt: prompt, trace: tinyTrace }).getState();
  const url = readUrl(writeUrl(state, "tales"));
  expect(url.given).toEqual(given);
  expect(isMadeBy(state, url)).toBe(true);
  expect(isMadeBy(state, { ...url, given: { ...given, forced: [8] } })).toBe(false);
});

test("an address can be read by people", () => {
  const state = createAppStore({ ...view, prompt: "Mia has a ball." }).getState();
  expect(writeUrl(state, "tales")).toBe(
    "?model=tales&prompt=Mia+has+a+ball.&tokens=40&temperature=0&top_k=5&presence_penalty=-0.5&seed=7&drawn=7&position=3&versus=7476&off=head.24.4,token.17&cell=attn_probs.2:1,5,3",
  );
});

test("where the camera was put is read back", () => {
  const pose = { target: [12.345, -3, 0], distance: 812.5, yaw: -0.14, pitch: 0.19 } as const;
  const state = createAppStore({
    view: { pose: { ...pose, target: [...pose.target] }, canUndo: true, canRedo: false },
  });
  expect(readUrl(writeUrl(state.getState(), "tales")).pose).toEqual(pose);
  expect(readUrl("?view=1,2,3")).toMatchObject({ pose: null, unread: ["view"] });
});

test("an untouched page has a short address", () => {
  expect(writeUrl(createAppStore().getState(), "tales")).toBe("?model=tales");
  expect(writeUrl(createAppStore().getState(), null)).toBe("");
});

test("nonsense is left at its default", () => {
  const read = readUrl(
    "?temperature=hot&min_p=2&typical_p=0&frequency_penalty=3&top_k=-1&top_p=0&tokens=1.5&seed=1e99&position=-2&versus=mean&off=head.1,,mlp.2,mlp.2,resid.3&cell=q.0:a,b&ids=1,x&chat=[1]&answer=-1&forced=,&changes={}",
  );
  expect(read.sampling).toEqual(DEFAULT_SAMPLING);
  expect(read).toMatchObject({
    maxNewTokens: 24,
    position: null,
    versus: "mean",
    off: ["mlp.2"],
    selection: null,
    modelId: null,
    prompt: null,
    given: GIVEN_TEXT,
  });
  expect(read.unread).toEqual(
    "cell chat ids answer forced changes tokens temperature top_k top_p min_p typical_p frequency_penalty seed position".split(
      " ",
    ),
  );
});

test("shapes stand in a link by their ids, and nothing of a run beside them", () => {
  const shown = ["gpt2", "owner/name"].map((shape_id) => ({ ...sampleShape(TALES, 1).shape, shape_id }));
  const state = createAppStore({ ...view, shapes: shown, selection: null }).getState();
  expect(writeUrl(state, "x")).toBe("?shape=gpt2&shape=owner/name");
  expect(readUrl(writeUrl(state, "x")).shapeIds).toEqual(["gpt2", "owner/name"]);
  expect(readUrl("?shape=a&shape=&shape=b").shapeIds).toEqual(["a", "b"]);
});
