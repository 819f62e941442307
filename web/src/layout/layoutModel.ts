import type { Anatomy, Site } from "../protocol/schema.generated";
import { aliasesOf } from "./aliasesOf";
import { type Frame, pointOn } from "./Frame";
import type { BlockDetail, BlockPlace, Bounds, Edge, Label, Layout, TilePlace } from "./Layout";
import {
  isNorm,
  isStream,
  labelsOf,
  layoutBlock,
  layoutNorms,
  layoutStack,
  type Place,
  wingFrames,
} from "./layoutBlock";
import { layoutShelf, shelfFrame } from "./layoutShelf";
import { layoutTiles } from "./layoutTiles";
import {
  chooseMetrics,
  END_SHARE,
  type Free,
  type Metrics,
  ROOF_SHARE,
  textPx,
  tilesWidthPx,
} from "./Metrics";
import { orderOf } from "./orderOf";
import type { Plate } from "./Plate";
import { PlateMaker } from "./PlateMaker";

export interface LayoutOptions {
  free: Free;
  /** Widths of the tokens' texts, in units of the text size. */
  ems: readonly number[];
}

/** Columns are added in steps, so that a growing text does not move the whole model with every token. */
const COLUMN_STEP = 8;
/** How many columns a layout for so many tokens has: room for a few to come. */
export function columnsFor(tokenCount: number): number {
  return Math.max(COLUMN_STEP, Math.ceil((tokenCount + 1) / COLUMN_STEP) * COLUMN_STEP);
}

/** Places everything an anatomy names: pure, and independent of the architecture. */
export function layoutModel(anatomy: Anatomy, tokenCount: number, options: LayoutOptions): Layout {
  const columns = columnsFor(tokenCount);
  const { free, ems } = options;
  const tilesPx = layoutTiles(ems, tilesWidthPx(free), textPx(free), 0).height;
  const metrics = chooseMetrics(anatomy, columns, free, tilesPx);
  const maker = new PlateMaker(columns, orderOf(anatomy));
  const aliases = aliasesOf(anatomy);
  const placeAt = (top: number): Place => ({
    top,
    metrics,
    maker,
    isDrawn: (site: Site) => !aliases.has(site.address),
  });

  const plates: Plate[] = [];
  const edges: Edge[] = [];
  const labels: Label[] = [];
  const headHeight = metrics.floor * ROOF_SHARE;
  const top = headHeight;
  const roof = placeAt(top);
  plates.push(...layoutStack(anatomy.before.filter(isStream), top, headHeight, roof));
  plates.push(...outerWeights(anatomy, roof, ["token_embedding", "position_embedding"], 0.1));

  const blocks = anatomy.blocks.map((block, index): BlockPlace => {
    const blockTop = -index * metrics.floor;
    const place = placeAt(blockTop);
    let detail: BlockDetail | null = null;
    const far = layoutStack(
      block.sites.filter(place.isDrawn).filter(isStream),
      blockTop,
      metrics.floor,
      place,
    );
    return {
      index,
      bounds: boundsOfBlock(place),
      far: far.filter((plate) => plate.station === "stream"),
      label: blockLabel(index, place),
      detail: () => {
        detail ??= layoutBlock(block, place);
        return detail;
      },
    };
  });

  const endTop = -anatomy.blocks.length * metrics.floor;
  const end = placeAt(endTop);
  const endHeight = metrics.floor * END_SHARE;
  const after = anatomy.after.filter((site) => site.axes[0] === "pos");
  const ends = layoutEnd(after, endTop, endHeight, end);
  plates.push(...ends, ...layoutNorms(anatomy.weights.filter(isNorm), ends, maker));
  plates.push(...outerWeights(anatomy, end, ["unembedding", "other"], 0));
  for (const plate of plates) labels.push(...labelsOf(plate));
  labels.push(...titlesOf(anatomy, placeAt(0)));

  const tilesBottom = top + metrics.funnel;
  const tiles = layoutTiles(ems, metrics.tilesWidth, metrics.text, tilesBottom);
  const skylineTop = endTop - endHeight - metrics.funnel;
  const halfWidth = Math.max(metrics.tilesWidth / 2, totalWidth(metrics) / 2);
  const left = metrics.spineWidth / -2 - metrics.gap - metrics.attentionWidth;
  return {
    columns,
    plates,
    edges,
    labels,
    blocks,
    aliases,
    spine: {
      left: -metrics.spineWidth / 2,
      width: metrics.spineWidth,
      top,
      bottom: endTop - endHeight,
      z: 0,
    },
    tiles: {
      corner: [-metrics.tilesWidth / 2, tilesBottom, 0],
      width: metrics.tilesWidth,
      size: metrics.text,
    },
    skyline: {
      corner: [-metrics.tilesWidth / 2, skylineTop, 0],
      width: metrics.tilesWidth,
      height: metrics.skylineHeight,
      size: metrics.text,
      bars: Math.max(5, Math.min(13, Math.floor(metrics.tilesWidth / (metrics.text * 4.8)))),
    },
    bounds: {
      min: [Math.min(left, -halfWidth), skylineTop - metrics.skylineHeight - metrics.text * 2, -90],
      max: [halfWidth, tilesBottom + Math.max(tiles.height, metrics.text * 2), 20],
    },
  };
}

/** The tiles of a layout's tokens. */
export function tilesOf(layout: Layout, ems: readonly number[]): TilePlace[] {
  return layoutTiles(ems, layout.tiles.width, layout.tiles.size, layout.tiles.corner[1]).places;
}

function totalWidth(metrics: Metrics): number {
  return metrics.spineWidth + 2 * metrics.gap + metrics.attentionWidth + metrics.wingWidth;
}

function layoutEnd(sites: Site[], top: number, height: number, place: Place): Plate[] {
  const { metrics, maker } = place;
  const plates = layoutStack(sites.filter(isStream), top, height * 0.26, place);
  const others = sites.filter((site) => !isStream(site));
  const own = (height * 0.7) / Math.max(1, others.length);
  others.forEach((site, index) => {
    const frame: Frame = {
      corner: [-metrics.spineWidth / 2, top - height * 0.3 - index * own, 0],
      right: [1, 0, 0],
      down: [0, -1, 0],
    };
    plates.push(
      maker.site(site, { frame, x: 0, y: 0, width: metrics.spineWidth, height: own - 3, station: "end" }),
    );
  });
  return plates;
}

/** Weights outside the blocks lie on shelves of their own: a roof over the embeddings, a base for the logits. */
function outerWeights(anatomy: Anatomy, place: Place, roles: string[], drop: number): Plate[] {
  const { metrics, maker } = place;
  const known = ["token_embedding", "position_embedding", "final_norm", "unembedding"];
  const weights = anatomy.weights.filter(
    (weight) => roles.includes(weight.role) || (roles.includes("other") && !known.includes(weight.role)),
  );
  const frames = wingFrames({ ...place, top: place.top + drop });
  const left = weights.filter(
    (weight) => weight.role === "position_embedding" || weight.role === "final_norm",
  );
  const right = weights.filter((weight) => !left.includes(weight));
  return [
    ...layoutShelf(
      left,
      shelfFrame(frames.attention, metrics.slope),
      metrics.attentionWidth,
      metrics.shelf,
      maker,
    ),
    ...layoutShelf(right, shelfFrame(frames.mlp, metrics.slope), metrics.wingWidth, metrics.shelf, maker),
  ];
}

function blockLabel(index: number, place: Place): Label {
  const { attention } = wingFrames(place);
  return {
    text: `block ${index}`,
    at: [attention.corner[0] - 6, place.top - place.metrics.floor / 2, attention.corner[2]],
    align: "right",
    priority: 10 + (index % 2),
    span: 0,
    rise: 0,
    role: "block",
    name: null,
  };
}

/** What the three parts are, said once above the first block. */
function titlesOf(anatomy: Anatomy, place: Place): Label[] {
  const first = anatomy.blocks[0];
  const { attention, mlp } = wingFrames(place);
  const { spineWidth } = place.metrics;
  const titles: [string, Label["at"], Label["align"]][] = [
    [
      `residual stream · ${anatomy.dimensions.d_model} wide`,
      [-spineWidth / 2 - 10, place.metrics.floor * 0.05, 0],
      "right",
    ],
  ];
  const width = place.metrics.attentionWidth;
  if (first?.heads)
    titles.push([`attention · ${first.heads} heads`, pointOn(attention, width * 0.02, -7), "left"]);
  if (first?.d_mlp) titles.push([`MLP · ${first.d_mlp} wide`, pointOn(mlp, 2, -7), "left"]);
  return titles.map(([text, at, align]) => ({
    text,
    at,
    align,
    priority: 15,
    span: 0,
    rise: place.metrics.floor,
    role: "title",
    name: null,
  }));
}

function boundsOfBlock(place: Place): Bounds {
  const { metrics, top } = place;
  const depth = Math.sin(metrics.sweep) * Math.max(metrics.attentionWidth, metrics.wingWidth);
  const half = metrics.spineWidth / 2 + metrics.gap;
  return {
    min: [-half - metrics.attentionWidth, top - metrics.floor, -depth - 16],
    max: [half + metrics.wingWidth, top, metrics.shelf],
  };
}
