import { expect, test } from "vitest";
import { FIELD_OF_VIEW, type View } from "../layout/Camera";
import { floorOf } from "../layout/floorOf";
import { layoutModel } from "../layout/layoutModel";
import { sampleAnatomy, sampleRouted, TALES } from "../layout/sampleAnatomy";
import { SAMPLE_TEXTS } from "../layout/sampleTexts";
import { MosaicView } from "./MosaicView";
import { nearBlocks } from "./nearBlocks";
import { nearSpan } from "./visiblePlates";
import type { Wanted } from "./Wanted";

const NONE = { left: 0, right: 0, top: 0, bottom: 0 };
const layout = layoutModel(sampleAnatomy({ ...TALES, blocks: 30 }), 40, SAMPLE_TEXTS);

/** From where a block is so many pixels high. */
function look(heightPx: number, at = layout, target = at.blocks[20]?.far.heads[3]?.corner ?? [0, 0, 0]) {
  const distance = (floorOf(at) * 450) / Math.tan(FIELD_OF_VIEW / 2) / heightPx;
  const view: View = {
    pose: { target, yaw: 0, pitch: 0, distance },
    width: 1400,
    height: 900,
    offset: { x: 0, y: 0 },
  };
  const span = nearSpan(at, view, NONE);
  const mosaics = new MosaicView();
  mosaics.update(at, view, span);
  return {
    mosaics,
    near: nearBlocks(at, view, span),
    names: mosaics.wanted([], true).map(({ name }) => name),
  };
}

test("from afar nothing is wanted, then one tensor for all heads of a block, in view alone", () => {
  expect(look(25).names).toEqual([]);
  const middle = look(62);
  expect(middle.near).toEqual([]);
  expect(middle.mosaics.count).toBeGreaterThan(3);
  expect(middle.mosaics.count).toBeLessThan(30);
  expect(middle.names).toContain("attn_probs.20");
  expect(middle.names).not.toContain("attn_probs.0");
  expect(new Set(middle.names).size).toBe(middle.mosaics.count);
});

test("once its matrices are drawn, a block has no mosaic, and what they ask for is not asked for twice", () => {
  const close = look(300);
  expect(close.near.map(({ block }) => block.index)).toContain(20);
  expect(close.names).toEqual([]);
  const { mosaics } = look(62);
  const known = { name: "attn_probs.20", kind: "site" as const, level: 0, lead: 3 };
  const wanted = mosaics.wanted([known], true).filter(({ name }) => name === "attn_probs.20");
  expect(wanted).toEqual([known]);
  expect(mosaics.wanted([], false)).toEqual([]);
});

test("experts are read as they are, also where a plate near by would do with pools of them", () => {
  const routed = layoutModel(sampleRouted(64, { ...TALES, blocks: 30 }), 40, SAMPLE_TEXTS);
  const { mosaics } = look(62, routed, routed.blocks[1]?.far.mosaics[1]?.corner);
  const pooled = {
    name: "expert_weights.1",
    kind: "site" as const,
    level: 2,
    shown: { rows: 2, columns: 2 },
  };
  const own = (near: Wanted[]) => mosaics.wanted(near, true).filter(({ name }) => name === pooled.name);
  expect(own([])).toEqual([{ name: pooled.name, kind: "site", level: 0 }]);
  expect(own([pooled])).toEqual([{ name: pooled.name, kind: "site", level: 0 }]);
});
