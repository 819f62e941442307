import { expect, test } from "vitest";
import { layoutModel } from "../layout/layoutModel";
import type { Mosaic } from "../layout/Mosaic";
import { sampleRouted } from "../layout/sampleAnatomy";
import { SAMPLE_TEXTS } from "../layout/sampleTexts";
import { Atlas } from "./Atlas";
import { bareOf } from "./MosaicMesh";
import { ValueStore } from "./ValueStore";

const { mosaics } = layoutModel(sampleRouted(64), 8, SAMPLE_TEXTS).blocks[1]?.far ?? { mosaics: [] };
const [heads, experts] = mosaics as [Mosaic, Mosaic];
const pattern = (lead: number) => ({
  address: heads.name,
  axes: ["head", "query", "key"],
  shape: [1, 64, 64],
  level: 0,
  lead,
  values: new Float32Array(64 * 64).fill(1),
});

test("it is said of parts that they come only once they were asked for", () => {
  const store = new ValueStore();
  for (const mosaic of [heads, experts]) {
    store.want([]);
    expect(bareOf(mosaic, store)).toBe("empty");
    store.want([{ name: mosaic.name }]);
    expect(bareOf(mosaic, store)).toBe("coming");
    store.fail([{ name: mosaic.name }]);
    expect(bareOf(mosaic, store)).toBe("failed");
    store.fail([]);
  }
});

test("of heads that found no room it is not said that they come", () => {
  // One layer of pages: as many heads as fit.
  const store = new ValueStore(new Atlas(1));
  store.want([{ name: heads.name, lead: 0 }, ...Array.from({ length: 80 }, (_, at) => ({ name: `w${at}` }))]);
  for (let at = 0; at < 80; at += 1)
    store.set({
      ...pattern(0),
      address: `w${at}`,
      axes: ["row", "column"],
      shape: [64, 64],
      lead: undefined,
    });
  expect(bareOf(heads, store)).toBe("coming");
  expect(store.set(pattern(0))).toBe(false);
  expect(bareOf(heads, store)).toBe("empty");
});

test("what has not been checked yet is neither coming nor failed", () => {
  const store = new ValueStore();
  store.want([{ name: heads.name }]);
  expect(bareOf({ ...heads, unchecked: true }, store)).toBe("unchecked");
});
