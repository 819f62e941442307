import { expect, test } from "vitest";
import { sharedPrefix, sharedRows } from "./sharedPrefix";
import { tinyTrace } from "./tinyTrace";

const longer = {
  ...tinyTrace,
  id: "b",
  tokens: [...tinyTrace.tokens, { id: 9, text: "D", special: false }],
};

test("counts the tokens that two recordings begin with", () => {
  expect(sharedPrefix(tinyTrace, longer)).toBe(3);
  expect(sharedPrefix(longer, tinyTrace)).toBe(3);
  expect(sharedPrefix(longer, { ...tinyTrace, tokens: tinyTrace.tokens.toReversed() })).toBe(0);
  expect(sharedPrefix(longer, longer)).toBe(4);
  expect(sharedPrefix(null, longer)).toBe(0);
});

test("what was computed otherwise shares nothing", () => {
  expect(sharedPrefix(tinyTrace, { ...longer, model_id: "other" })).toBe(0);
  const changed = { address: "resid_post.0", operation: "zero" as const };
  expect(sharedPrefix(tinyTrace, { ...longer, interventions: [changed as never] })).toBe(0);
});

test("a text that was read anew shares nothing with one that was not", () => {
  const anew = { ...longer, rewritten: 1, adopted: [{ trace_id: tinyTrace.id, positions: 2 }] };
  expect(sharedPrefix(tinyTrace, anew)).toBe(0);
  expect(sharedRows(tinyTrace, anew)).toBe(0);
  expect(sharedRows(anew, { ...longer, id: "c", adopted: [{ trace_id: "b", positions: 3 }] })).toBe(0);
});

test("rows are shared as far as they were taken over, in whichever line", () => {
  const heir = { ...longer, adopted: [{ trace_id: tinyTrace.id, positions: 2 }] };
  expect(sharedRows(tinyTrace, heir)).toBe(2);
  expect(sharedRows(tinyTrace, longer)).toBe(0);
  expect(sharedRows(null, heir)).toBe(0);
  // Two that took over from a third, which may be gone.
  const sibling = { ...longer, id: "c", adopted: [{ trace_id: tinyTrace.id, positions: 1 }] };
  expect(sharedRows(heir, sibling)).toBe(1);
});
