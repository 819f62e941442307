import { beforeAll, expect, test } from "vitest";
import { startWords } from "../panels/words/startWords";
import { createAppStore } from "./createAppStore";
import { searchPlaces } from "./searchPlaces";
import { tinyAnatomy } from "./tinyAnatomy";
import { tinyTrace } from "./tinyTrace";

const state = createAppStore({ anatomy: tinyAnatomy, trace: tinyTrace }).getState();
const search = (query: string) => searchPlaces(state, query);

beforeAll(() => startWords("en"));

test("addresses, words, weights, tokens, positions and blocks are found", () => {
  expect(search("attn_probs.0")[0]).toMatchObject({
    kind: "site",
    cell: { address: "attn_probs.0", index: [0, 2, 2] },
  });
  expect(search("pattern attention")).toContainEqual(expect.objectContaining({ point: "attn_probs" }));
  expect(search("LOGITS")).toContainEqual(expect.objectContaining({ point: "lm_head" }));
  expect(search("q.weight")[0]).toMatchObject({
    kind: "weight",
    cell: { address: "q.weight", index: [0, 0] },
  });
  expect(search("B")).toContainEqual({ kind: "token", position: 1 });
  expect(search("2")).toContainEqual({ kind: "token", position: 2 });
  expect(search("block 0")[0]).toMatchObject({ kind: "block", block: 0 });
});

test("an address with as many indices as it has axes is a cell", () => {
  const cell = { kind: "cell", cell: { address: "attn_probs.0", index: [1, 2, 0] } };
  for (const query of ["attn_probs.0:1,2,0", "attn_probs.0 1 2 0", "attn_probs.0 [1, 2, 0]"])
    expect(search(query)[0]).toMatchObject(cell);
  expect(search("attn_probs.0:1,2").filter((place) => place.kind === "cell")).toEqual([]);
});

test("all of a kind are found, and a few of each before the rest", () => {
  const [block] = tinyAnatomy.blocks;
  const [weight] = block?.weights ?? [];
  if (!block || !weight) throw new Error("the sample has a weight");
  const weights = Array.from({ length: 300 }, (_, at) => ({
    ...weight,
    name: `blocks.${at}.attn_probs.q.weight`,
  }));
  const many = { ...state, anatomy: { ...tinyAnatomy, blocks: [{ ...block, weights }] } };
  const found = searchPlaces(many, "attn_probs");
  expect(found.filter(({ kind }) => kind === "weight")).toHaveLength(300);
  expect(found[0]).toMatchObject({ kind: "site", cell: { address: "attn_probs.0" } });
  expect(found.slice(0, 8).some(({ kind }) => kind === "weight")).toBe(true);
});

test("nothing is found for nothing, and where nothing is open", () => {
  expect(search("  ")).toEqual([]);
  expect(search("no such thing")).toEqual([]);
  expect(searchPlaces(createAppStore().getState(), "q")).toEqual([]);
});
