import { expect, test } from "vitest";
import type { CheckedParts } from "../protocol/schema.generated";
import { fillAnatomy, isSameModel } from "./fillAnatomy";
import { findSite } from "./selectors";
import { tinyAnatomy } from "./tinyAnatomy";

const unchecked = { status: "unchecked", max_abs_difference: null, worst: null, reason: null } as const;
const outline = {
  ...tinyAnatomy,
  parts: 2,
  checked: 0,
  before: tinyAnatomy.before.map((site) => ({ ...site, check: unchecked })),
  blocks: tinyAnatomy.blocks.map((block) => ({
    ...block,
    sites: block.sites.map((site) => ({ ...site, check: unchecked })),
  })),
  after: tinyAnatomy.after.map((site) => ({ ...site, check: unchecked })),
};
const statusOf = (anatomy: typeof tinyAnatomy, address: string) => findSite(anatomy, address)?.check.status;

test("a part that was checked takes its place, and the others stay as they are", () => {
  const found: CheckedParts = { before: [], blocks: [], after: tinyAnatomy.after, parts: 2, checked: 1 };
  const filled = fillAnatomy(outline, found);
  expect(statusOf(filled, "lm_head")).toBe("exact");
  expect(statusOf(filled, "attn_probs.0")).toBe("unchecked");
  expect(statusOf(filled, "embeddings")).toBe("unchecked");
  expect(filled.blocks[0]).toBe(outline.blocks[0]);
  expect(filled.checked).toBe(1);
  const { before, blocks } = tinyAnatomy;
  const whole = fillAnatomy(filled, { before, blocks, after: [], parts: 2, checked: 2 });
  expect(statusOf(whole, "attn_probs.0")).toBe("exact");
  expect(statusOf(whole, "embeddings")).toBe("exact");
  expect(statusOf(whole, "lm_head")).toBe("exact");
});

test("it is still the same model, and another is not", () => {
  const found: CheckedParts = { before: [], blocks: [], after: [], parts: 2, checked: 0 };
  expect(isSameModel(outline, fillAnatomy(outline, found))).toBe(true);
  expect(isSameModel(outline, { ...outline, weights: [...outline.weights] })).toBe(false);
});
