import { expect, test } from "vitest";
import { createAppStore, DEFAULT_SAMPLING } from "./createAppStore";
import { asPython, pythonSnippet } from "./pythonSnippet";
import { GIVEN_TEXT } from "./Recipe";
import { tinyAnatomy } from "./tinyAnatomy";
import { tinyTrace } from "./tinyTrace";

test("values are written as Python writes them", () => {
  expect(asPython({ a: [1, null, true, 'it\'s "so"\n'], b: false })).toBe(
    '{"a": [1, None, True, "it\'s \\"so\\"\\n"], "b": False}',
  );
});

test("what ran, how it was drawn and the cell on screen", () => {
  const sampling = { ...DEFAULT_SAMPLING, temperature: 0 };
  const given = { ...GIVEN_TEXT, tokenIds: [1, 2], forced: [7] };
  const state = createAppStore({
    anatomy: tinyAnatomy,
    trace: tinyTrace,
    tracePrompt: "A",
    drawnSeed: 5,
    made: { maxNewTokens: 9, sampling, given },
    selection: { address: "attn_probs.0", index: [1, 2, 0] },
  }).getState();
  const lines = pythonSnippet(state)?.split("\n");
  expect(lines).toContain("    token_ids=[1, 2],");
  expect(lines).toContain("    max_new_tokens=9,");
  expect(lines).toContain("    temperature=0,");
  expect(lines).toContain("    seed=5,");
  expect(lines).toContain("    forced_token_ids=[7],");
  expect(lines).toContain('print(float(t["attn_probs.0"][1, 2, 0]))  # the cell on screen');
});

test("a prompt that was only read is written as its text; where nothing ran there is nothing to write", () => {
  const made = { maxNewTokens: 24, sampling: DEFAULT_SAMPLING, given: GIVEN_TEXT };
  const state = createAppStore({ anatomy: tinyAnatomy, trace: tinyTrace, tracePrompt: "A", made }).getState();
  expect(pythonSnippet(state)).toContain('t = model.trace(\n    "A",\n)');
  expect(pythonSnippet(createAppStore().getState())).toBeNull();
});
