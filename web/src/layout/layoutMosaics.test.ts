import { expect, test } from "vitest";
import type { Anatomy } from "../protocol/schema.generated";
import { layoutModel } from "./layoutModel";
import { cellOnMosaic, cellRect, type Mosaic, pointOnMosaic, tileRect } from "./Mosaic";
import { fractionsAt } from "./pickCell";
import { sampleAnatomy, sampleRouted, TALES } from "./sampleAnatomy";
import { SAMPLE_TEXTS } from "./sampleTexts";
import { add, length, scale, subtract } from "./Vec3";

function mosaicOf(anatomy: Anatomy, kind: Mosaic["kind"]): Mosaic | undefined {
  return layoutModel(anatomy, 8, SAMPLE_TEXTS).blocks[1]?.far.mosaics.find((each) => each.kind === kind);
}

test("the tiles of heads stand in the cells that they have from afar, and leave a frame of them", () => {
  const block = layoutModel(sampleAnatomy(TALES), 8, SAMPLE_TEXTS).blocks[1];
  const [mosaic] = block?.far.mosaics ?? [];
  if (!mosaic) throw new Error("there is a mosaic");
  expect([mosaic.name, mosaic.count, mosaic.columns, mosaic.rows]).toEqual(["attn_probs.1", 8, 16, 16]);
  for (const [head, cell] of (block?.far.heads ?? []).entries()) {
    const own = cellRect(mosaic, head);
    expect(length(subtract(own.corner, cell.corner))).toBeCloseTo(0);
    expect([length(own.right), length(own.down)]).toEqual([
      expect.closeTo(length(cell.right)),
      expect.closeTo(length(cell.down)),
    ]);
    const tile = tileRect(mosaic, head);
    expect(length(tile.right)).toBeLessThan(length(cell.right));
    expect(length(tile.down)).toBeLessThan(length(cell.down));
  }
});

test.each(["heads", "experts"] as const)(
  "a place on a tile of %s is the cell that is drawn there",
  (kind) => {
    const mosaic = mosaicOf(sampleRouted(128), kind);
    if (!mosaic) throw new Error("there is a mosaic");
    for (const tile of [0, 3, mosaic.count - 1]) {
      const rect = tileRect(mosaic, tile);
      const [column, row] = [5, kind === "heads" ? 9 : 0];
      const [u, v] = [(column + 0.5) / mosaic.columns, (row + 0.5) / mosaic.rows];
      const at = add(rect.corner, add(scale(rect.right, u), scale(rect.down, v)));
      const on = fractionsAt({ origin: add(at, [0, 0, 10]), direction: [0, 0, -1] }, mosaic);
      const cell = { address: mosaic.name, index: kind === "heads" ? [tile, row, column] : [column, tile] };
      expect(cellOnMosaic(mosaic, on?.u ?? 0, on?.v ?? 0)).toEqual(cell);
      expect(length(subtract(pointOnMosaic(mosaic, cell) ?? [0, 0, 0], at))).toBeCloseTo(0);
    }
    expect(cellOnMosaic(mosaic, 0.0001, 0.5)).toBeNull();
  },
);

test("all experts have a tile on the wing, side by side in rows", () => {
  for (const experts of [4, 8, 128]) {
    const anatomy = sampleRouted(experts);
    const mosaic = mosaicOf(anatomy, "experts");
    const wing = layoutModel(anatomy, 8, SAMPLE_TEXTS).blocks[1]?.far.mlp;
    if (!mosaic || !wing) throw new Error("there is a mosaic");
    expect(mosaic.count).toBe(experts);
    expect(mosaic.tilesAcross * mosaic.tilesDown).toBeGreaterThanOrEqual(experts);
    expect([mosaic.corner, mosaic.right, mosaic.down]).toEqual([wing.corner, wing.right, wing.down]);
    const { right, down } = cellRect(mosaic, 0);
    expect(length(right) / length(down)).toBeGreaterThan(0.8);
  }
});

test("what its check refused has no mosaic", () => {
  const anatomy = sampleAnatomy(TALES);
  const site = anatomy.blocks[1]?.sites.find(({ point }) => point === "attn_probs");
  if (!site) throw new Error("the sample has that site");
  site.check = { ...site.check, status: "refused", reason: "differs" };
  expect(mosaicOf(anatomy, "heads")).toBeUndefined();
});
