import type { Cell } from "./Cell";
import type { Rect } from "./Rect";
import { add, scale, type Vec3 } from "./Vec3";

/**
 * One plate between a block and its parts: all heads side by side, each with what it reads, or all experts, each with the
 * tokens that chose it. Parts are tiles, in rows from the top left.
 */
export interface Mosaic extends Rect {
  block: number;
  kind: "heads" | "experts";
  /** What it shows: a matrix of `attn_probs.3` in each tile, or a column of `expert_weights.3`. */
  name: string;
  /** How many tiles there are, in how many columns and rows of them. */
  count: number;
  tilesAcross: number;
  tilesDown: number;
  /** Of its room, the share that a part's cell fills, across and down; the tile in it leaves a frame, see `FRAME`. */
  fill: readonly [number, number];
  /** Cells of a tile at level 0, across and down, counting those still to come. */
  columns: number;
  rows: number;
  /** When light passes. */
  order: readonly [number, number];
  /** Whether the self-check has not come to the site yet. */
  unchecked: boolean;
}

/** Around a tile shows the light of the cell that it covers: of the cell's width and height, what the tile leaves. */
export const FRAME = [0.05, 0.14] as const;

/** Where a part's cell stands: its tile and the frame around it. */
export function cellRect(mosaic: Mosaic, tile: number): Rect {
  return rectOf(mosaic, tile, mosaic.fill);
}

export function tileRect(mosaic: Mosaic, tile: number): Rect {
  return rectOf(mosaic, tile, tileFill(mosaic));
}

/** Of its room, the share that a tile fills, across and down. */
export function tileFill({ fill }: Mosaic): readonly [number, number] {
  return [fill[0] * (1 - FRAME[0]), fill[1] * (1 - FRAME[1])];
}

function rectOf(
  { corner, right, down, tilesAcross, tilesDown }: Mosaic,
  tile: number,
  fill: Mosaic["fill"],
): Rect {
  const [across, below] = [scale(right, 1 / tilesAcross), scale(down, 1 / tilesDown)];
  const x = (tile % tilesAcross) + (1 - fill[0]) / 2;
  const y = Math.floor(tile / tilesAcross) + (1 - fill[1]) / 2;
  return {
    corner: add(corner, add(scale(across, x), scale(below, y))),
    right: scale(across, fill[0]),
    down: scale(below, fill[1]),
  };
}

/** The cell at `u`, `v` in 0..1 across and down the plate; null between tiles. */
export function cellOnMosaic(mosaic: Mosaic, u: number, v: number): Cell | null {
  const { kind, tilesAcross, tilesDown, count, columns, rows, name } = mosaic;
  const [x, y] = [u * tilesAcross, v * tilesDown];
  const tile = Math.floor(y) * tilesAcross + Math.floor(x);
  const fill = tileFill(mosaic);
  const inTile = [x, y].map((at, side) => (at - Math.floor(at) - 0.5) / (fill[side] ?? 1) + 0.5);
  if (tile < 0 || tile >= count || inTile.some((at) => at < 0 || at >= 1)) return null;
  const [column, row] = [Math.floor((inTile[0] ?? 0) * columns), Math.floor((inTile[1] ?? 0) * rows)];
  return { address: name, index: kind === "heads" ? [tile, row, column] : [column, tile] };
}

/** The middle of a cell on its tile; null where the plate does not show it. */
export function pointOnMosaic(mosaic: Mosaic, { address, index }: Cell): Vec3 | null {
  const [first = 0, second = 0, third = 0] = index;
  const [tile, row, column] = mosaic.kind === "heads" ? [first, second, third] : [second, 0, first];
  if (address !== mosaic.name || tile >= mosaic.count || column >= mosaic.columns || row >= mosaic.rows)
    return null;
  const { corner, right, down } = tileRect(mosaic, tile);
  const [u, v] = [(column + 0.5) / mosaic.columns, (row + 0.5) / mosaic.rows];
  return add(corner, add(scale(right, u), scale(down, v)));
}
