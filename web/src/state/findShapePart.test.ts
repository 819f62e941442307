import { expect, test } from "vitest";
import { SORTER, TALES } from "../layout/sampleAnatomy";
import { sampleShape } from "../layout/sampleShape";
import { findShapePart } from "./findShapePart";

const shapes = [sampleShape(TALES, 1).shape, sampleShape(SORTER, 1).shape];

test("a head belongs to its block's attention, with its weights under the block's own number", () => {
  const part = findShapePart(shapes, "head.3.5");
  expect(part).toMatchObject({ kind: "attention", block: 3, head: 5, shape: shapes[0] });
  expect(part?.sizes.map(({ kind }) => kind)).toEqual(["attention"]);
  expect(part?.weights.map(({ name }) => name)).toEqual(
    ["q.weight", "k.weight", "v.weight", "o.weight", "o.bias"].map((name) => `blocks.3.${name}`),
  );
});

test("the number of a model stands before its parts", () => {
  const part = findShapePart(shapes, "1:mlp.2");
  expect(part?.shape).toBe(shapes[1]);
  expect(part?.weights.every(({ name }) => /^blocks\.2\.(gate|down)\./.test(name))).toBe(true);
});

test.each(["mlp.99", "2:mlp.0", "token.3", "", "head.x.1"])("%j is no part", (name) => {
  expect(findShapePart(shapes, name)).toBeNull();
});
