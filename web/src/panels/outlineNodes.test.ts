import { expect, test } from "vitest";
import { tinyAnatomy } from "../state/tinyAnatomy";
import { buildOutline, visibleRows } from "./outlineNodes";

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
