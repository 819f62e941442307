import { FIELD_OF_VIEW, project, type View, windowOf } from "../layout/Camera";
import type { Cell } from "../layout/Cell";
import type { Layout } from "../layout/Layout";
import { cellOnMosaic, type Mosaic, pointOnMosaic, tileRect } from "../layout/Mosaic";
import { meet, type Ray } from "../layout/pickCell";
import { fourCorners, middleOf } from "../layout/Rect";
import { length, type Vec3 } from "../layout/Vec3";
import { wantedLevel } from "../layout/wantedLevel";
import type { Reading } from "../protocol/schema.generated";
import type { Meshes } from "./Meshes";
import { routeCurves } from "./routeCurves";
import type { ValueStore } from "./ValueStore";
import type { NearSpan } from "./visiblePlates";
import type { Wanted } from "./Wanted";

/** A cell smaller than this on the screen cannot be pointed at: its part is. */
const CELL_PX = 3;
/** Experts are never pooled with others, so more cells than this are not read. */
const EXPERT_CELLS = 1 << 19;
/** Lines to experts are drawn in so many blocks, those nearest to the middle of the window. */
const ROUTED_BLOCKS = 2;

/** What stands between the card of a block and its matrices: all of its heads, or experts, on one plate. */
export class MosaicView {
  private mosaics: readonly Mosaic[] = [];
  private view: View | null = null;
  private routes = "";

  get count(): number {
    return this.mosaics.length;
  }

  /** Finds the mosaics that are in view. */
  update(layout: Layout | null, view: View, span: NearSpan): void {
    this.view = view;
    this.mosaics = layout ? mosaicsIn(layout, view, span) : [];
  }

  write(
    meshes: Meshes,
    layout: Layout | null,
    store: ValueStore,
    span: NearSpan,
    reading: Reading | null,
  ): void {
    const { mosaics, view } = this;
    if (!view) return;
    meshes.mosaics.write(mosaics, store, span, focalOf(view));
    const routed = mosaics
      .filter(({ kind }) => kind === "experts")
      .map((mosaic) => ({ mosaic, from: Math.abs((this.middleOf(mosaic)?.y ?? 1e9) - view.height / 2) }))
      .sort((one, other) => one.from - other.from)
      .slice(0, ROUTED_BLOCKS)
      .map(({ mosaic }) => mosaic);
    const key = `${routed.map(({ name }) => name)} ${reading?.position} ${layout?.columns} ${store.changes}`;
    if (key === this.routes) return;
    this.routes = key;
    meshes.routes.setCurves(
      layout ? routed.flatMap((mosaic) => routeCurves(layout, mosaic, store, reading)) : [],
    );
  }

  /** What is to be fetched beside `near`, whose tensors are those of matrices that are drawn already. */
  wanted(near: readonly Wanted[], hasValues: boolean): Wanted[] {
    const { view } = this;
    if (!view || !hasValues) return [...near];
    // Experts are told apart only as they are, also where a plate near by would do with pools of them.
    const exact = new Set(this.mosaics.filter(isReadExactly).map(({ name }) => name));
    const known = new Set(near.map(({ name }) => name));
    const rest = this.mosaics.filter(({ name, kind }) => kind === "heads" && !known.has(name));
    return [
      ...near.filter(({ name }) => !exact.has(name)),
      ...rest.map((mosaic): Wanted => {
        const { name, columns, rows, count } = mosaic;
        const { width, height } = this.tileSize(mosaic);
        const level = wantedLevel(columns, rows, width, height, count);
        return { name, kind: "site", level, shown: { rows: level, columns: level } };
      }),
      ...[...exact].map((name): Wanted => ({ name, kind: "site", level: 0 })),
    ];
  }

  /** The cell that a ray meets, where cells are large enough to be told apart. */
  cellAt(ray: Ray): Cell | null {
    for (const mosaic of this.mosaics) {
      const { width, height } = this.tileSize(mosaic);
      if (width / mosaic.columns < CELL_PX || height / mosaic.rows < CELL_PX) continue;
      const hit = meet(ray, mosaic);
      if (hit) return cellOnMosaic(mosaic, hit.u, hit.v);
    }
    return null;
  }

  /** Where a cell stands on a mosaic that is in view. */
  placeOf(cell: Cell): Vec3 | null {
    const own = this.mosaics.find(({ name }) => name === cell.address);
    return own ? pointOnMosaic(own, cell) : null;
  }

  /** On the screen, in pixels. */
  private tileSize(mosaic: Mosaic): { width: number; height: number } {
    const { view } = this;
    const depth = this.middleOf(mosaic)?.depth;
    if (!view || depth === undefined) return { width: 0, height: 0 };
    const tile = tileRect(mosaic, 0);
    const [width, height] = [tile.right, tile.down].map((side) => (length(side) * focalOf(view)) / depth);
    return { width: width ?? 0, height: height ?? 0 };
  }

  private middleOf(mosaic: Mosaic): { x: number; y: number; depth: number } | null {
    return this.view && project(this.view, middleOf(mosaic));
  }
}

function isReadExactly({ kind, columns, count }: Mosaic): boolean {
  return kind === "experts" && columns * count <= EXPERT_CELLS;
}

function focalOf(view: View): number {
  return view.height / 2 / Math.tan(FIELD_OF_VIEW / 2);
}

function mosaicsIn({ blocks }: Layout, view: View, span: NearSpan): Mosaic[] {
  const focal = focalOf(view);
  const isInWindow = windowOf(view);
  return blocks.flatMap(({ far }) =>
    far.mosaics.filter((mosaic) => {
      const at = project(view, middleOf(mosaic));
      if (!at) return false;
      const tallPx = (span.floor * focal) / at.depth;
      return tallPx > span.mosaicFromPx && tallPx < span.toPx && isInWindow(fourCorners(mosaic));
    }),
  );
}
