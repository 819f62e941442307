import { describe, expect, test } from "vitest";
import type { BoundaryWords } from "../protocol/schema.generated";
import { chosenExperts } from "./chosenExperts";
import { arcsOfHead, chooseArcs } from "./farArcs";
import { insteadLabels, sourceLabels, wordLabels } from "./farLabels";
import { lightsByAdds, lightsByWorth, NO_LIGHTS } from "./farLights";
import type { Layout } from "./Layout";
import { layoutModel } from "./layoutModel";
import { columnAt } from "./layoutTiles";
import { headLabels } from "./mosaicLabels";
import { ridePoints } from "./ridePoints";
import { GIANT, sampleAnatomy, TALES } from "./sampleAnatomy";
import { sampleEffects, sampleReading } from "./sampleReading";
import { SAMPLE_TEXTS } from "./sampleTexts";
import { leadsFrom, spineWords } from "./spineWords";
import { standingLimit } from "./standingLimit";

const BLOCKS = 30;
const HEADS = 9;
const POSITION = 18;
const deep = sampleAnatomy({ ...TALES, blocks: BLOCKS });
const reading = sampleReading(BLOCKS, HEADS, POSITION);
const effects = sampleEffects(BLOCKS, HEADS, POSITION);
const TEXTS = { leads: "leads", instead: (word: string) => `not ${word}` };
const MADRID = { id: 7, text: " Madrid" };

function lensOf(...ids: number[]): BoundaryWords[] {
  return ids.map((id, boundary) => ({
    boundary,
    chosen: 0,
    tokens: [{ id, text: `w${id}`, probability: 0.2 }],
  }));
}

describe("words along the spine", () => {
  test("a word that stays is said once, and the last one always", () => {
    const words = spineWords(lensOf(1, 1, 2, 2, 2, 7, 7), MADRID);
    expect(words.map(({ isSame }) => isSame)).toEqual([false, true, false, true, true, false, false]);
    expect(words.map(({ isChosen }) => isChosen)).toEqual([false, false, false, false, false, true, true]);
  });

  test("where not all have room, the last stays before the first that leads, and that before likelier ones", () => {
    const lens = lensOf(1, 2, 7, 7);
    (lens[1] as BoundaryWords).tokens[0] = { id: 2, text: "w2", probability: 0.99 };
    const order = spineWords(lens, MADRID).sort((a, b) => a.priority - b.priority);
    expect(order.map(({ boundary }) => boundary)).toEqual([3, 2, 1, 0]);
  });

  test("the chosen word leads from where it stays to the end", () => {
    expect(leadsFrom(lensOf(1, 7, 2, 7, 7), MADRID)).toBe(3);
    expect(leadsFrom(lensOf(7, 7), MADRID)).toBe(0);
    expect(leadsFrom(lensOf(7, 1), MADRID)).toBeNull();
    expect(leadsFrom([], MADRID)).toBeNull();
  });

  test("stand at their boundaries, beside the column that is read", () => {
    const layout = layoutModel(deep, POSITION + 1, SAMPLE_TEXTS);
    const labels = wordLabels(layout, reading.lens, POSITION, MADRID, (text) => text.trim(), TEXTS);
    const words = labels.filter(({ role }) => role === "word" || role === "answer");
    expect(words.map(({ text }) => text)).toEqual([
      ...Array.from({ length: BLOCKS / 2 }, (_, at) => `word${at}`),
      "Madrid",
    ]);
    words.forEach((label, at) => {
      expect(label.at[0]).toBeGreaterThan(columnAt(layout, POSITION));
      expect(label.at[1]).toBe(layout.boundaries[at * 2]);
    });
    expect(labels.filter(({ role }) => role === "mark").map(({ at }) => at[1])).toEqual([
      layout.boundaries[BLOCKS],
    ]);
  });
});

describe("lights", () => {
  const lights = lightsByWorth(effects);
  const lightOf = (part: string) => lights.byPart.get(part);

  test("what is always worth everything stands apart, and does not darken the rest", () => {
    expect(lightOf("mlp.0")).toMatchObject({ light: 1, isClipped: true, instead: " Spain" });
    expect(lightOf(`head.${BLOCKS - 2}.1`)).toMatchObject({ light: 1, isClipped: false });
    expect(lightOf("head.2.0")?.light).toBeCloseTo(0.2 / 2);
    expect(lights.limit).toBeCloseTo(2);
  });

  test("without it the word loses: above 0; it gains: below", () => {
    expect(lightOf("mlp.3")?.light).toBeCloseTo(-0.1 / 2);
    expect(lightOf("mlp.3")?.instead).toBeNull();
    expect(lightOf("mlp.3")?.value).toBeCloseTo(-0.1);
  });

  test("words of the text have a scale of their own", () => {
    expect(lightOf(`token.${POSITION - 1}`)?.light).toBe(1);
    expect(lights.wordLimit).toBeCloseTo(4.5);
  });

  test("what has not been tested has no light", () => {
    const known = effects.parts.filter(({ block }) => block === null || block >= 20);
    const some = lightsByWorth({ ...effects, blocks: [20, BLOCKS - 1], parts: known });
    expect(some.byPart.has("mlp.19")).toBe(false);
    expect(some.byPart.has("mlp.20")).toBe(true);
    expect(NO_LIGHTS.byPart.size).toBe(0);
  });

  test("where no part decides, none is bright", () => {
    const little = effects.parts.map((part) => ({ ...part, margin: effects.base.margin - 0.03 }));
    const dark = lightsByWorth({ ...effects, parts: little });
    expect(Math.max(...[...dark.byPart.values()].map(({ light }) => light))).toBeLessThan(0.1);
  });

  test("what parts add is the other mode, and words add nothing themselves", () => {
    const adds = lightsByAdds(reading);
    expect(adds.byPart.get("mlp.29")).toMatchObject({ light: 1, value: 2.9 });
    expect(adds.byPart.get("head.20.3")?.light).toBeCloseTo(-1 / 2.9);
    expect(adds.byPart.has("token.3")).toBe(false);
  });

  test("the limit leaves out what stands apart, and is never below its floor", () => {
    const many = Array.from({ length: 60 }, (_, at) => at / 60);
    expect(standingLimit([...many, 50], 0.1)).toBeCloseTo(59 / 60);
    expect(standingLimit([...many, 1.5], 0.1)).toBe(1.5);
    expect(standingLimit([...many, Number.NaN], 3)).toBe(3);
    expect(standingLimit([], 0.7)).toBe(0.7);
    expect(standingLimit([5, 1, 1], 0.1)).toBe(5);
  });
});

describe("arcs", () => {
  const arcs = chooseArcs(reading, lightsByWorth(effects));

  test("come from the heads that matter, to what they carry; never from the own position", () => {
    expect(arcs[0]).toMatchObject({
      block: BLOCKS - 2,
      heads: [1],
      position: (BLOCKS - 2) % POSITION,
      sign: 1,
    });
    expect(arcs.every(({ position }) => position !== POSITION)).toBe(true);
    expect(arcs.every(({ strength }) => strength > 0 && strength <= 1)).toBe(true);
  });

  test("are a dozen at most, strongest first", () => {
    const every = chooseArcs(reading, lightsByAdds(reading));
    expect(every).toHaveLength(12);
    // All heads of a block read the same word here: they share an arc.
    expect(every.every(({ heads }) => heads.length === HEADS)).toBe(true);
    expect(every.map(({ strength }) => strength)).toEqual(
      every.map(({ strength }) => strength).sort((a, b) => b - a),
    );
    expect(every.every(({ sign }) => sign === -1)).toBe(true);
  });

  test("where no head decides, come from a whole attention, to the word that it reads above all", () => {
    const whole = [26, 27].map((block) => ({
      ...(effects.parts[0] as (typeof effects.parts)[number]),
      kind: "attention" as const,
      position: null,
      block,
      margin: effects.base.margin - 3,
    }));
    const arcs = chooseArcs(reading, lightsByWorth({ ...effects, parts: whole }));
    expect(arcs.map(({ block }) => block).sort()).toEqual([26, 27]);
    const first = arcs.find(({ block }) => block === 26);
    expect(first).toMatchObject({ heads: [], position: 26 % POSITION, sign: 1 });
    // All heads of a block carry the same here: what they do together is no more than the whole does.
    expect(first?.strength).toBeCloseTo(8 / (8 + 4 + 0.1 * (POSITION - 1)));
  });

  test("of one head are there whatever it is worth, for who stops at it", () => {
    const own = arcsOfHead(reading, NO_LIGHTS, 3, 2);
    expect(own.map(({ position, heads }) => [position, heads])).toEqual([[3, [2]]]);
    expect(arcsOfHead(reading, NO_LIGHTS, 99, 2)).toEqual([]);
  });

  test("where a head of it leads, a whole attention has none", () => {
    const first = effects.parts.find(
      ({ kind, block, head }) => kind === "head" && block === 28 && head === 1,
    );
    if (!first) throw new Error("the sample has that head");
    const whole = { ...first, kind: "attention" as const, head: null };
    const both = chooseArcs(reading, lightsByWorth({ ...effects, parts: [first, whole] }));
    expect(both.map(({ heads }) => heads)).toEqual([[1]]);
  });

  test("are none while nothing is tested", () => {
    expect(chooseArcs(reading, NO_LIGHTS)).toEqual([]);
  });

  test("and wings name the words: where an arc begins, and what would be said instead", () => {
    const layout = layoutModel(deep, POSITION + 1, SAMPLE_TEXTS);
    const [first] = sourceLabels(layout, arcs, (position) => `token ${position}`);
    expect(first?.text).toBe(`token ${arcs[0]?.position}`);
    expect(first?.hue).toBe(1);
    const instead = insteadLabels(layout, lightsByWorth(effects), (text) => text.trim(), TEXTS);
    expect(instead.map(({ text }) => text)).toEqual(["not Spain", "not Spain"]);
  });
});

test("a head's cell says its number, and the word that it carries most of", () => {
  const layout = layoutModel(deep, POSITION + 1, SAMPLE_TEXTS);
  const labels = headLabels(layout, 5, reading, (position) => `word ${position}`);
  expect(labels).toHaveLength(deep.dimensions.heads);
  expect(labels[2]).toMatchObject({ text: "2 · word 5", short: "2" });
  expect(headLabels(layout, 5, { ...reading, attention: [] }, () => "")[2]?.text).toBe("2");
});

describe("the silhouette", () => {
  test.each([1, 4, 30, 96])("of %i blocks is one tower, whatever the prompt's length", (blocks) => {
    const anatomy = sampleAnatomy({ ...(blocks > 60 ? GIANT : TALES), blocks });
    const [short, long] = [layoutModel(anatomy, 3, SAMPLE_TEXTS), layoutModel(anatomy, 2000, SAMPLE_TEXTS)];
    expect(long.bounds).toEqual(short.bounds);
    expect(long.spine).toEqual(short.spine);
    // The tiles of a mosaic only have more columns and rows.
    const silhouette = ({ blocks }: Layout) =>
      blocks.map(({ far: { mosaics, ...parts } }) => [
        parts,
        mosaics.map(({ corner, right, down }) => [corner, right, down]),
      ]);
    expect(silhouette(long)).toEqual(silhouette(short));
    const [width, height] = [0, 1].map(
      (axis) => (short.bounds.max[axis] as number) - (short.bounds.min[axis] as number),
    ) as [number, number];
    // It fills about what a window leaves free, however deep it is.
    expect(width / height).toBeGreaterThan(0.7);
    expect(width / height).toBeLessThan(2);
    expect(short.boundaries).toHaveLength(blocks + 1);
  });

  test("has a cell for each head and a wing for each MLP, inside the bounds of its block", () => {
    for (const { bounds, far } of layoutModel(deep, 20, SAMPLE_TEXTS).blocks) {
      expect(far.heads).toHaveLength(deep.dimensions.heads);
      for (const rect of [...far.heads, far.mlp]) {
        if (!rect) throw new Error("every block here has an MLP");
        expect(rect.corner[0]).toBeGreaterThanOrEqual(bounds.min[0] - 1);
        expect(rect.corner[0] + rect.right[0]).toBeLessThanOrEqual(bounds.max[0] + 1);
        expect(rect.corner[1]).toBeLessThan(bounds.max[1]);
        expect(rect.corner[1] + rect.down[1]).toBeGreaterThan(bounds.min[1]);
      }
    }
  });
});

test("the ride stops beside the column, with the part that it is about in view", () => {
  const layout = layoutModel(deep, POSITION + 1, SAMPLE_TEXTS);
  const points = ridePoints(layout, { boundary: 24, part: "head.24.4" }, POSITION, []);
  const x = columnAt(layout, POSITION);
  const y = layout.boundaries[24] as number;
  const span = (axis: number) => points.map((point) => point[axis] as number);
  expect(Math.min(...span(0))).toBeLessThan(layout.spine.left);
  expect(Math.max(...span(0))).toBeGreaterThan(x);
  expect(Math.min(...span(1))).toBeLessThan(y);
  expect(Math.max(...span(1))).toBeGreaterThan(y);
  const tiles = Array.from({ length: POSITION + 1 }, (_, at) => ({
    corner: [at * 100, 900, 0] as const,
    width: 80,
    height: 30,
    size: 20,
  }));
  expect(ridePoints(layout, { boundary: 24, part: null }, POSITION, tiles)).toHaveLength(2);
  // The first stop tells of the token itself.
  expect(ridePoints(layout, { boundary: 0, part: `token.${POSITION}` }, POSITION, tiles)).toContainEqual([
    1880, 870, 0,
  ]);
});

test("of a block's parts only experts are experts, also where the server leaves out what a part has not", () => {
  const parts = [
    { block: 1, head: 0 },
    { block: 1, expert: 6 },
    { block: 1, expert: 5 },
    { block: 1, expert: 6 },
    {},
  ];
  expect([...chosenExperts(parts)]).toEqual([[1, [5, 6]]]);
});
