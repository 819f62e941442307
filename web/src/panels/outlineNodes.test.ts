import { expect, test } from "vitest";
import { tinyAnatomy } from "../state/tinyAnatomy";
import { buildOutline, shownRow, visibleRows } from "./outlineNodes";

test("the outline lists every site and weight in order of computation", () => {
  const everything = visibleRows(
    buildOutline(tinyAnatomy),
    new Set(["model", "before", "model.weights", "block.0", "block.0.weights", "after"]),
  );
  expect(everything.map((row) => row.node.id)).toEqual([
    "model",
    "before",
    "embeddings",
    "model.weights",
    "embed.weight",
    "block.0",
    "attn_probs.0",
    "block.0.weights",
    "q.weight",
    "after",
    "lm_head",
  ]);
  expect(everything.map((row) => row.depth)).toEqual([1, 2, 3, 3, 4, 2, 3, 3, 4, 2, 3]);
});

test("a closed group hides what is in it", () => {
  const rows = visibleRows(buildOutline(tinyAnatomy), new Set(["model"]));
  expect(rows.map((row) => row.node.id)).toEqual(["model", "before", "block.0", "after"]);
  expect(rows.map((row) => [row.position, row.siblings])).toEqual([
    [1, 1],
    [1, 3],
    [2, 3],
    [3, 3],
  ]);
});

test("a site of many heads lists each of them, unless it is refused", () => {
  const outline = buildOutline(tinyAnatomy);
  const rows = visibleRows(outline, new Set(["model", "block.0", "attn_probs.0"]));
  const heads = rows.filter(({ node }) => node.kind === "lead");
  const [site] = tinyAnatomy.blocks[0]?.sites ?? [];
  expect(heads).toHaveLength(site?.shape[0] ?? 0);
  expect(heads.map(({ node }) => node.lead)).toEqual(heads.map((_, index) => ({ axis: "head", index })));
  expect(heads.every(({ node, parent }) => node.label === "attn_probs.0" && parent === "attn_probs.0")).toBe(
    true,
  );
});

test("what is shown is selected: a head where its row is visible, else its site", () => {
  const outline = buildOutline(tinyAnatomy);
  const head = { address: "attn_probs.0", index: [1, 2, 0] };
  const selected = (open: string[], cell: typeof head | null) =>
    shownRow(visibleRows(outline, new Set(open)), cell)?.node.id;
  expect(selected(["model", "block.0", "attn_probs.0"], head)).toBe("attn_probs.0:1");
  expect(selected(["model", "block.0"], head)).toBe("attn_probs.0");
  expect(selected(["model"], head)).toBeUndefined();
  expect(selected(["model", "before"], { address: "embeddings", index: [0, 3] })).toBe("embeddings");
  expect(selected(["model", "block.0"], null)).toBeUndefined();
});
