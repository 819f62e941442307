import { expect, test } from "vitest";
import { tinyAnatomy } from "../state/tinyAnatomy";
import { guideSteps } from "./guideSteps";

test("the walk speaks only of what the model has", () => {
  expect(guideSteps(tinyAnatomy)).toEqual([
    { name: "tokens", addresses: ["embeddings"], view: ["embeddings"] },
    { name: "attention", addresses: ["attn_probs.0"], view: ["attn_probs.0"] },
    { name: "logits", addresses: ["lm_head"], view: ["lm_head"] },
    { name: "next", addresses: ["lm_head"], view: [] },
  ]);
});

test("shares add up to one only where no sink takes some", () => {
  const withSink = structuredClone(tinyAnatomy);
  const site = withSink.blocks[0]?.sites.find(({ point }) => point === "attn_probs");
  if (!site) throw new Error("no attention");
  site.equation = {
    operation: "softmax",
    inputs: [
      { kind: "site", address: "attn_scores.0" },
      { kind: "weight", name: "sinks", start: null, stop: null },
    ],
    attributes: {},
    latex: "",
  };
  expect(guideSteps(withSink)[1]?.name).toBe("attentionSink");
});
