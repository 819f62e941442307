import type { Anatomy, Block, Site } from "../protocol/schema.generated";
import { aliasesOf } from "./aliasesOf";
import { shifted } from "./Frame";
import type { BlockDetail, BlockPlace, Bounds, Edge, Layout, TilePlace, Tower } from "./Layout";
import { blockLabel, labelsOf, refusalOf, titlesOf } from "./labelsOf";
import { layoutBlock } from "./layoutBlock";
import { layoutBase, layoutRoof } from "./layoutEnds";
import { isStream, layoutStack } from "./layoutStack";
import { columnAt, layoutTiles, TILE_PITCH } from "./layoutTiles";
import { chooseMetrics, END_SHARE, type Format, type Metrics, ROOF_SHARE } from "./Metrics";
import { orderOf } from "./orderOf";
import { type Place, wingFrames } from "./Place";
import type { Plate } from "./Plate";
import { PlateMaker } from "./PlateMaker";

/** Columns are added in steps, so that not every token makes those before it narrower. */
const COLUMN_STEP = 8;
/** Threads from the foot of one tower to the top of the next: enough to see the stream go on. */
const LINKS = 12;

/** How many columns a layout for so many tokens has: room for a few to come. */
export function columnsFor(tokenCount: number): number {
  return Math.max(COLUMN_STEP, Math.ceil((tokenCount + 1) / COLUMN_STEP) * COLUMN_STEP);
}

/**
 * Places everything an anatomy names: pure, and independent of the architecture. However many tokens there are, every
 * plate has the same corners: they only have more columns.
 */
export function layoutModel(anatomy: Anatomy, tokenCount: number, format: Format = "wide"): Layout {
  const columns = columnsFor(tokenCount);
  const metrics = chooseMetrics(anatomy, columns, format);
  const maker = new PlateMaker(columns, orderOf(anatomy));
  const aliases = aliasesOf(anatomy);
  const isDrawn = (site: Site) => !aliases.has(site.address);
  const count = anatomy.blocks.length;
  const perTower = Math.max(1, Math.ceil(count / metrics.towers));
  const placeAt = (tower: number, top: number): Place => ({
    x: towerX(tower, metrics),
    top,
    metrics,
    maker,
    isDrawn,
  });

  const placeOf = (index: number) =>
    placeAt(Math.floor(index / perTower), -(index % perTower) * metrics.floor);
  const blocks = anatomy.blocks.map((block, index) =>
    placeBlock(block, index, placeOf(index), index >= perTower),
  );
  const lastTower = Math.max(0, Math.ceil(count / perTower) - 1);
  const endTop = -(count - lastTower * perTower) * metrics.floor;
  const endBottom = endTop - metrics.floor * END_SHARE;
  const top = metrics.floor * ROOF_SHARE;
  const plates = [
    ...layoutRoof(anatomy, placeAt(0, top)),
    ...layoutBase(anatomy, placeAt(lastTower, endTop)),
  ];
  const towers = Array.from(
    { length: lastTower + 1 },
    (_, index): Tower => ({
      left: towerX(index, metrics) - metrics.spineWidth / 2,
      top: index === 0 ? top : 0,
      bottom: index === lastTower ? endBottom : -perTower * metrics.floor,
    }),
  );

  const ground = Math.min(endBottom, -perTower * metrics.floor) - metrics.funnel;
  const tilesBottom = top + metrics.funnel;
  const half = Math.max(metrics.tilesWidth, metrics.towers * (metrics.width + metrics.aisle)) / 2;
  const partial = { columns, towers, spineWidth: metrics.spineWidth };
  return {
    ...partial,
    plates,
    edges: linksOf(partial),
    labels: [
      ...plates.flatMap(labelsOf),
      ...titlesOf(anatomy, placeOf),
      ...refusalOf(anatomy, placeAt(0, 0)),
    ],
    blocks,
    aliases,
    tiles: {
      corner: [-metrics.tilesWidth / 2, tilesBottom, 0],
      width: metrics.tilesWidth,
      size: metrics.text,
    },
    skyline: {
      corner: [-metrics.tilesWidth / 2, ground, 0],
      width: metrics.tilesWidth,
      height: metrics.skylineHeight,
      size: metrics.text,
      bars: Math.max(5, Math.min(13, Math.floor(metrics.tilesWidth / (metrics.text * 4.8)))),
    },
    bounds: {
      min: [-half, ground - metrics.skylineHeight - metrics.text * 2, -metrics.width * 0.2],
      max: [half, tilesBottom + metrics.tileRows * TILE_PITCH * metrics.text, metrics.shelf],
    },
  };
}

/** The tiles of a layout's tokens; `ems` are the widths of their texts, in units of the text size. */
export function tilesOf(layout: Layout, ems: readonly number[]): TilePlace[] {
  return layoutTiles(ems, layout.tiles.width, layout.tiles.size, layout.tiles.corner[1]).places;
}

/** The middle of a tower's spine: a model too deep for one tower stands in several, read like columns of text. */
function towerX(tower: number, metrics: Metrics): number {
  const shift = (metrics.wingWidth - metrics.attentionWidth) / 2;
  const middle = (tower - (metrics.towers - 1) / 2) * (metrics.width + metrics.aisle);
  // A single tower has its spine in the middle, where tiles and skyline are; several balance their outlines.
  return metrics.towers === 1 ? 0 : middle - shift;
}

function placeBlock(block: Block, index: number, place: Place, inAisle: boolean): BlockPlace {
  let detail: BlockDetail | null = null;
  return {
    index,
    heads: block.heads ?? 0,
    bounds: boundsOfBlock(place),
    far: layoutFar(block, place),
    label: blockLabel(index, place, inAisle),
    detail: () => {
      detail ??= layoutBlock(block, place);
      return detail;
    },
  };
}

/** A block from afar: its stream, and what attention and MLP wrote spread over their wings. */
function layoutFar(block: Block, place: Place): Plate[] {
  const { metrics, maker } = place;
  const stack = layoutStack(block.sites.filter(place.isDrawn).filter(isStream), metrics.floor, place);
  const { attention, mlp } = wingFrames(place);
  const written = block.sites.filter((site) => /^(attn|mlp)_out$/.test(site.point));
  const height = metrics.floor * 0.8;
  return [
    ...stack.filter((plate) => plate.station === "stream"),
    ...written.map((site) => {
      const isAttention = site.point === "attn_out";
      return maker.site(site, {
        frame: shifted(isAttention ? attention : mlp, 0, metrics.floor * 0.1),
        x: 0,
        y: 0,
        width: isAttention ? metrics.attentionWidth : metrics.wingWidth,
        height,
        station: "wing",
      });
    }),
  ];
}

function linksOf(layout: Pick<Layout, "columns" | "towers" | "spineWidth">): Edge[] {
  const step = Math.max(1, Math.floor(layout.columns / LINKS));
  return layout.towers.slice(1).flatMap((tower, index) => {
    const before = layout.towers[index] as Tower;
    const order = [(index + 1) / layout.towers.length, (index + 1) / layout.towers.length + 0.004] as const;
    const columns = Array.from({ length: Math.ceil(layout.columns / step) }, (_, at) => at * step);
    return columns.map((column): Edge => {
      const [from, to] = [columnAt(layout, column, index), columnAt(layout, column, index + 1)];
      const reach = (tower.top - before.bottom) * 0.3;
      return {
        points: [
          [from, before.bottom, -6],
          [from + (to - from) * 0.4, before.bottom - reach, -60],
          [from + (to - from) * 0.6, tower.top + reach, -60],
          [to, tower.top, -6],
        ],
        order,
        kind: "flow",
      };
    });
  });
}

function boundsOfBlock(place: Place): Bounds {
  const { metrics, top, x } = place;
  const depth = Math.sin(metrics.sweep) * Math.max(metrics.attentionWidth, metrics.wingWidth);
  const half = metrics.spineWidth / 2 + metrics.gap;
  return {
    min: [x - half - metrics.attentionWidth, top - metrics.floor, -depth - 16],
    max: [x + half + metrics.wingWidth, top, metrics.shelf],
  };
}
