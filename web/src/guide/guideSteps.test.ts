import { expect, test } from "vitest";
import { tinyAnatomy } from "../state/tinyAnatomy";
import { guideSteps } from "./guideSteps";

test("the walk speaks only of what the model has", () => {
  expect(guideSteps(tinyAnatomy)).toEqual([
    { name: "tokens", addresses: ["embeddings"] },
    { name: "attention", addresses: ["attn_probs.0"] },
    { name: "logits", addresses: ["lm_head"] },
    { name: "next", addresses: ["lm_head"] },
  ]);
});
