import { expect, test } from "vitest";
import { countShown, shapeQuads } from "../scene/shapeQuads";
import { expandShape } from "./expandShape";
import type { Layout } from "./Layout";
import { layoutShapes } from "./layoutShapes";
import type { ShapeNames } from "./ShapeView";
import { GIANT, SORTER, TALES } from "./sampleAnatomy";
import { sampleShape } from "./sampleShape";
import { SAMPLE_TEXTS } from "./sampleTexts";

const title = (full: string) => ({ full, short: full });
const names = (name: string): ShapeNames => ({
  name,
  attention: title("heads"),
  stream: title("stream"),
  mlp: title("MLP"),
});
const view = (...models: [Parameters<typeof sampleShape>[0], number][]) => ({
  anatomies: models.map(([sizes, parameters]) => expandShape(sampleShape(sizes, parameters).shape)),
  names: models.map((_, at) => names(`model ${at}`)),
  lightOf: () => 1,
});

test("a template written out is the anatomy itself", () => {
  const { whole, shape } = sampleShape(TALES, 1e6);
  const { sites: _, ...first } = whole.blocks[0] as (typeof whole.blocks)[0];
  const expanded = expandShape(shape);
  expect(expanded.blocks.map(({ index }) => index)).toEqual(whole.blocks.map(({ index }) => index));
  expect(expanded.blocks[0]).toMatchObject(first);
  expect(expanded.blocks[3]?.weights).toEqual(whole.blocks[3]?.weights);
  expect(expanded.blocks[3]?.sites.map(({ address }) => address)).toEqual(
    whole.blocks[3]?.sites.map(({ address }) => address),
  );
});

test("a model alone says over its parts what they are, and has no room for words above and below", () => {
  const layout = layoutShapes(view([GIANT, 1.75e11]), SAMPLE_TEXTS, "wide");
  expect(layout.beside).toEqual([]);
  expect(layout.labels.map(({ text }) => text)).toEqual(expect.arrayContaining(["heads", "stream", "MLP"]));
  const high = layout.bounds.max[1] - layout.bounds.min[1];
  expect(high).toBeLessThan((layout.spine.top - layout.spine.bottom) * 1.2);
  for (const { at } of layout.labels.filter(({ role }) => role === "token"))
    expect(at[1]).toBeGreaterThan(layout.spine.top);
});

const areaOf = ({ spine }: Layout) => (spine.top - spine.bottom) * spine.width;
const rangeOf = (layout: Layout) => {
  const bounds = layout.blocks.map((block) => block.bounds);
  return [
    Math.min(...bounds.map(({ min }) => min[0])),
    Math.max(...bounds.map(({ max }) => max[0])),
  ] as const;
};

test.each(["wide", "narrow"] as const)(
  "beside each other, equal areas hold equally many parameters (%s)",
  (format) => {
    const sizes = [1e8, 8e9, 1.75e11];
    const layout = layoutShapes(
      view([SORTER, sizes[0] as number], [TALES, sizes[1] as number], [GIANT, sizes[2] as number]),
      SAMPLE_TEXTS,
      format,
    );
    const all = [layout, ...layout.beside];
    expect(all).toHaveLength(3);
    const densities = all.map((each, at) => (sizes[at] as number) / areaOf(each));
    for (const density of densities) expect(density / (densities[0] as number)).toBeCloseTo(1, 6);
    // On one ground, in the order given, apart from each other, and all within the bounds.
    for (const { spine } of all) expect(spine.bottom).toBeCloseTo(0, 6);
    const ranges = all.map(rangeOf);
    for (const [at, [left]] of ranges.entries())
      if (at > 0) expect(left).toBeGreaterThan(ranges[at - 1]?.[1] ?? 0);
    expect(ranges[0]?.[0]).toBeGreaterThanOrEqual(layout.bounds.min[0] - 1e-6);
    expect(ranges[2]?.[1]).toBeLessThanOrEqual(layout.bounds.max[0] + 1e-6);
    expect(layout.labels.map(({ text }) => text)).toEqual(["model 0", "model 1", "model 2"]);
  },
);

test("three of the largest stay within the budget of triangles, and their parts can be told apart", () => {
  const layout = layoutShapes(view([GIANT, 1e11], [GIANT, 2e11], [GIANT, 3e11]), SAMPLE_TEXTS, "wide");
  const quads = shapeQuads(layout);
  expect(quads.length * 2).toBeLessThan(100_000);
  const parts = quads.flatMap(({ part }) => (part ? [part] : []));
  expect(new Set(parts).size).toBe(parts.length);
  expect(parts).toContain("2:head.95.95");
  const { min, max } = layout.bounds;
  for (const axis of [0, 1] as const) {
    const ends = quads.flatMap(({ corner, right, down }) => [
      corner[axis],
      corner[axis] + right[axis] + down[axis],
    ]);
    expect(ends.reduce((low, end) => Math.min(low, end))).toBeGreaterThanOrEqual(min[axis] - 1);
    expect(ends.reduce((high, end) => Math.max(high, end))).toBeLessThanOrEqual(max[axis] + 1);
  }
});

test("heads come last, and are left out while they are too small to be seen", () => {
  const quads = shapeQuads(layoutShapes(view([GIANT, 1.75e11]), SAMPLE_TEXTS, "wide"));
  const cells = quads.findIndex(({ look }) => look === "cell");
  expect(quads.slice(cells).every(({ look }) => look === "cell")).toBe(true);
  expect(countShown(quads, 0.01)).toBe(cells);
  expect(countShown(quads, 1)).toBe(quads.length);
});
