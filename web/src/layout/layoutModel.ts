import type { Anatomy, Block, Site } from "../protocol/schema.generated";
import { aliasesOf } from "./aliasesOf";
import type { BlockDetail, BlockPlace, Bounds, Layout, TilePlace } from "./Layout";
import type { LayoutTexts } from "./LayoutTexts";
import { blockLabel, labelsOf, refusalOf, titlesOf } from "./labelsOf";
import { layoutBlock } from "./layoutBlock";
import { layoutBase, layoutRoof } from "./layoutEnds";
import { layoutFar } from "./layoutFar";
import { layoutTiles, TILE_PITCH } from "./layoutTiles";
import { chooseMetrics, END_SHARE, type Format, ROOF_SHARE } from "./Metrics";
import { orderOf } from "./orderOf";
import type { Place } from "./Place";
import { PlateMaker } from "./PlateMaker";

/** Columns are added in steps, so that not every token makes those before it narrower. */
const COLUMN_STEP = 8;

/** How many columns a layout for so many tokens has: room for a few to come. */
export function columnsFor(tokenCount: number): number {
  return Math.max(COLUMN_STEP, Math.ceil((tokenCount + 1) / COLUMN_STEP) * COLUMN_STEP);
}

/**
 * Places everything an anatomy names: pure, and independent of the architecture. However many tokens there are, every
 * plate has the same corners: they only have more columns.
 */
export function layoutModel(
  anatomy: Anatomy,
  tokenCount: number,
  texts: LayoutTexts,
  format: Format = "wide",
): Layout {
  const columns = columnsFor(tokenCount);
  const metrics = chooseMetrics(anatomy, columns, format);
  const maker = new PlateMaker(columns, orderOf(anatomy), texts.unexplained);
  const aliases = aliasesOf(anatomy);
  const isDrawn = (site: Site) => !aliases.has(site.address);
  const count = anatomy.blocks.length;
  const placeAt = (top: number): Place => ({ x: 0, top, metrics, maker, texts, isDrawn });
  const placeOf = (index: number) => placeAt(-index * metrics.floor);
  const blocks = anatomy.blocks.map((block, index) => placeBlock(block, index, placeOf(index)));
  const endTop = -count * metrics.floor;
  const endBottom = endTop - metrics.floor * END_SHARE;
  const top = metrics.floor * ROOF_SHARE;
  const plates = [...layoutRoof(anatomy, placeAt(top)), ...layoutBase(anatomy, placeAt(endTop))];
  const ground = endBottom - metrics.funnel;
  const tilesBottom = top + metrics.funnel;
  const half = Math.max(metrics.tilesWidth, metrics.width) / 2;
  return {
    beside: [],
    columns,
    spine: { left: -metrics.spineWidth / 2, top, bottom: endBottom, width: metrics.spineWidth },
    boundaries: Array.from({ length: count + 1 }, (_, boundary) => -boundary * metrics.floor),
    plates,
    labels: [
      ...plates.flatMap((plate) => labelsOf(plate, texts)),
      ...titlesOf(anatomy, placeOf(0)),
      ...refusalOf(anatomy, placeAt(0)),
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

function placeBlock(block: Block, index: number, place: Place): BlockPlace {
  let detail: BlockDetail | null = null;
  return {
    index,
    heads: block.heads ?? 0,
    bounds: boundsOfBlock(place),
    far: layoutFar(block, place),
    label: blockLabel(index, place),
    detail: () => {
      detail ??= layoutBlock(block, place);
      return detail;
    },
  };
}

function boundsOfBlock(place: Place): Bounds {
  const { metrics, top, x } = place;
  const depth = Math.sin(metrics.sweep) * Math.max(metrics.attentionWidth, metrics.wingWidth);
  const half = metrics.spineWidth / 2;
  return {
    min: [x - half - metrics.gap - metrics.attentionWidth, top - metrics.floor, -depth - 16],
    max: [x + half + metrics.gutter + metrics.wingWidth, top, metrics.shelf],
  };
}
