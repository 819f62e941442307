import { beforeAll, expect, test } from "vitest";
import { startWords } from "../panels/words/startWords";
import { sayName, sayPoint } from "./sayName";

beforeAll(() => startWords("en"));

test("a head's matrices are named with its number, others by what they hold", () => {
  expect(sayName("k.3", ["kv_head", "pos", "d_head"], 1)).toBe("keys of key/value head 1");
  expect(sayName("attn_probs.3", ["head", "query", "key"], 4)).toBe("attention pattern of head 4");
  expect(sayName("attn_probs.3", ["head", "query", "key"])).toBe("attention pattern");
  expect(sayName("mlp_out.2", ["pos", "d_model"], -1)).toBe("what the MLP adds");
  expect(sayName("model.norm.weight", ["d_model"])).toBeNull();
});

test("a point that has no words goes by its own name", () => {
  expect(sayPoint("mlp_in")).toBe("what the MLP reads");
  expect(sayPoint("mystery")).toBe("mystery");
});
