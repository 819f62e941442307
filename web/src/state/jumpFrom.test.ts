import { expect, test } from "vitest";
import { createAppStore } from "./createAppStore";
import { jumpFrom } from "./jumpFrom";
import { tinyAnatomy } from "./tinyAnatomy";

const value = {
  address: "attn_probs.0",
  axes: ["head", "query", "key"],
  shape: [2, 2, 3],
  level: 0,
  values: Float32Array.from([9, 0, 0, 0, 0, 0, 1, Number.NEGATIVE_INFINITY, 5, -3, Number.NaN, 2]),
};
const state = createAppStore({
  anatomy: tinyAnatomy,
  selection: { address: "attn_probs.0", index: [1, 0, 0] },
  inspected: { status: "ready", value, error: null },
}).getState();

test("largest and smallest are those of the plane that is shown, masked cells left out", () => {
  expect(jumpFrom(state, "largest")?.index).toEqual([1, 0, 2]);
  expect(jumpFrom(state, "smallest")?.index).toEqual([1, 1, 0]);
  expect(jumpFrom({ ...state, inspected: { ...state.inspected, value: null } }, "largest")).toBeNull();
});

test("the same cell of another block, where there is one", () => {
  expect(jumpFrom(state, "nextBlock")).toBeNull();
  const blocks = tinyAnatomy.blocks.flatMap((block) => [
    block,
    {
      ...block,
      index: 1,
      sites: block.sites.map((site) => ({ ...site, address: site.address.replace(/0$/, "1") })),
    },
  ]);
  const two = { ...state, anatomy: { ...tinyAnatomy, blocks } };
  expect(jumpFrom(two, "nextBlock")).toEqual({ address: "attn_probs.1", index: [1, 0, 0] });
  expect(jumpFrom(two, "previousBlock")).toBeNull();
  expect(jumpFrom({ ...state, selection: null }, "largest")).toBeNull();
});
