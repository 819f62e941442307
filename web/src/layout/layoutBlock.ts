import type { Block, Site, Weight } from "../protocol/schema.generated";
import { type Frame, pointOn, shifted } from "./Frame";
import type { BlockDetail, Edge, Label } from "./Layout";
import { cardsOf, chooseHeadGrid, layoutHeads } from "./layoutHeads";
import { layoutShelf, shelfFrame } from "./layoutShelf";
import { layoutWing } from "./layoutWing";
import type { Metrics } from "./Metrics";
import { type Plate, pointAt } from "./Plate";
import type { PlateMaker } from "./PlateMaker";
import { threadBetween } from "./threadBetween";

const HEAD_ROLES = ["q", "k", "v", "qkv", "o", "q_norm", "k_norm"];
/** A resid plate is this many times as high as a lens. */
const STREAM_SHARE = 2.5;
/** How much nearer one must come before later blocks name their sites. */
const LATER_BLOCKS = 2.2;
const NORM_WIDTH = 2.4;
const NORM_GAP = 3;

export interface Place {
  /** Top of the block in y. */
  top: number;
  metrics: Metrics;
  maker: PlateMaker;
  isDrawn(site: Site): boolean;
}

export function isStream(site: Site): boolean {
  return site.axes.length === 2 && site.axes[0] === "pos" && site.axes[1] === "d_model";
}

/** The part of a block that stands in the spine: the stream itself, lenses on the way out, outputs on the way in. */
export function layoutStack(sites: Site[], top: number, height: number, place: Place): Plate[] {
  const { metrics, maker } = place;
  const isResid = (site: Site) => site.point.startsWith("resid") || site.point === "embeddings";
  const shares = sites.map((site) => (isResid(site) ? STREAM_SHARE : 1));
  const gaps = 0.62;
  const unit = height / (shares.reduce((sum, share) => sum + share, 0) + gaps * sites.length);
  let y = top - unit * gaps * 0.5;
  return sites.map((site, index) => {
    const h = unit * (shares[index] ?? 1);
    const resid = isResid(site);
    const reads = resid ? "stream" : /_in$|norm/.test(site.point) ? "lens" : "output";
    const inset = resid ? 0 : metrics.spineWidth * 0;
    const frame: Frame = {
      corner: [-metrics.spineWidth / 2, y, resid ? 0 : -10],
      right: [1, 0, 0],
      down: [0, -1, 0],
    };
    y -= h + unit * gaps;
    return maker.site(site, {
      frame,
      x: inset,
      y: 0,
      width: metrics.spineWidth - 2 * inset,
      height: h,
      station: reads,
    });
  });
}

/** The two sides of a block: frames that sweep back from the spine, reading left to right. */
export function wingFrames(place: Place): { attention: Frame; mlp: Frame; height: number } {
  const { metrics, top } = place;
  const cos = Math.cos(metrics.sweep);
  const sin = Math.sin(metrics.sweep);
  const from = metrics.spineWidth / 2 + metrics.gap;
  const y = top - 2;
  const attention: Frame = {
    corner: [-from - cos * metrics.attentionWidth, y, -16 - sin * metrics.attentionWidth],
    right: [cos, 0, sin],
    down: [0, -1, 0],
  };
  const mlp: Frame = { corner: [from, y, -16], right: [cos, 0, -sin], down: [0, -1, 0] };
  return { attention, mlp, height: metrics.floor - 6 };
}

export function layoutBlock(block: Block, place: Place): BlockDetail {
  const { metrics, maker, top } = place;
  const sites = block.sites.filter(place.isDrawn);
  const stack = layoutStack(sites.filter(isStream), top, metrics.floor, place);
  const { attention, mlp, height } = wingFrames(place);
  const below = metrics.shelf * Math.sin(metrics.slope + 0.26) + 2;
  const plates = [...stack];
  const edges: Edge[] = [];
  const labels: Label[] = [];
  const named = (point: string) => stack.find((plate) => plate.name === `${point}.${block.index}`);

  // Attention: the fan of heads left of the spine.
  const heads = block.heads ?? 0;
  if (heads > 0) {
    const grid = chooseHeadGrid(heads, block.kv_heads ?? heads, metrics.attentionWidth, height - below);
    const fan = shifted(attention, 0, below);
    const cards = layoutHeads(block, fan, grid, maker);
    plates.push(...cards);
    const [read, write] = [named("attn_in"), named("attn_out")];
    for (const card of cardsOf(grid)) {
      const first = card.head % grid.perGroup === 0;
      const at = pointOn(fan, card.x, card.y - (first ? card.strip + 1.5 : 0));
      labels.push({
        text: `${card.head}`,
        at,
        align: "right",
        priority: 60,
        span: card.width * 0.5,
        rise: card.height,
        role: "head",
        name: null,
      });
      const z = cards.find((plate) => plate.name === `z.${block.index}` && plate.lead === card.head);
      const k = cards.find((plate) => plate.name === `k.${block.index}` && plate.lead === card.kvHead);
      const probs = cards.find(
        (plate) => plate.name === `attn_probs.${block.index}` && plate.lead === card.head,
      );
      if (read && k && first)
        edges.push(threadBetween(pointAt(read, 0, 0.5), pointAt(k, 1, 0), k.order, "flow", "left"));
      if (k && probs && !first)
        edges.push(
          threadBetween(
            pointAt(k, 0, 1),
            pointOn(fan, card.x + card.strip, card.y),
            probs.order,
            "shared",
            "down",
          ),
        );
      if (write && z)
        edges.push(threadBetween(pointAt(z, 1, 0.5), pointAt(write, 0, 0.5), write.order, "flow", "right"));
    }
  }
  const headWeights = block.weights.filter((weight) => HEAD_ROLES.includes(weight.role));
  plates.push(
    ...layoutShelf(
      headWeights,
      shelfFrame(attention, metrics.slope),
      metrics.attentionWidth,
      metrics.shelf,
      maker,
    ),
  );

  // The MLP: wings right of the spine.
  const wing = shifted(mlp, 0, below);
  const isWing = (site: Site) => !isStream(site) && !["head", "kv_head"].includes(site.axes[0] ?? "");
  const wings = layoutWing(sites.filter(isWing), wing, metrics.wingWidth, height - below, maker);
  plates.push(...wings);
  const [read, write] = [named("mlp_in"), named("mlp_out")];
  const act = wings.at(-1);
  for (const plate of wings) {
    if (read && plate !== act)
      edges.push(threadBetween(pointAt(read, 1, 0.5), pointAt(plate, 0, 0.5), plate.order, "flow", "right"));
  }
  if (write && act)
    edges.push(threadBetween(pointAt(act, 0, 0.5), pointAt(write, 1, 0.5), write.order, "flow", "left"));
  const norms = block.weights.filter(isNorm);
  const rest = block.weights.filter((weight) => !HEAD_ROLES.includes(weight.role) && !norms.includes(weight));
  plates.push(...layoutShelf(rest, shelfFrame(mlp, metrics.slope), metrics.wingWidth, metrics.shelf, maker));

  plates.push(...layoutNorms(norms, stack, maker));

  for (const plate of plates) labels.push(...labelsOf(plate));
  return { plates, edges, labels };
}

/** Whether a weight is a vector of a norm over the stream. */
export function isNorm(weight: Weight): boolean {
  return weight.axes.length === 1 && /norm$/.test(weight.role) && !HEAD_ROLES.includes(weight.role);
}

/** A norm's weight lies along its lens, feature by feature, on the side that the lens looks to. */
export function layoutNorms(norms: Weight[], stack: Plate[], maker: PlateMaker): Plate[] {
  const lenses = stack.filter((plate) => plate.station === "lens");
  return norms.flatMap((weight, index) => {
    const lens = stack.find((plate) => plate.inputs.includes(weight.name)) ?? lenses[index] ?? stack[0];
    if (!lens) return [];
    const mates = norms.filter((other) => other.role === weight.role);
    const out = NORM_GAP + (NORM_WIDTH + 1) * mates.indexOf(weight);
    const x =
      weight.role === "attn_norm" ? lens.corner[0] - out - NORM_WIDTH : lens.corner[0] + lens.right[0] + out;
    const frame: Frame = { corner: [x, lens.corner[1], lens.corner[2]], right: [1, 0, 0], down: [0, -1, 0] };
    const height = -lens.down[1];
    return [
      maker.weight(weight, { frame, x: 0, y: 0, width: NORM_WIDTH, height, station: "shelf", flip: true }),
    ];
  });
}

/** The last words of a parameter's name: where it lies says the rest. */
function shortName(name: string): string {
  return name.split(".").slice(-2).join(".");
}

/** A site's name appears when its plate is large enough to carry it. */
export function labelsOf(plate: Plate): Label[] {
  const width = Math.hypot(...plate.right);
  // From afar the first block's names stand for all.
  const rise = Math.hypot(...plate.down) / (plate.block ? LATER_BLOCKS : 1);
  const at = pointAt(plate, 0, 0);
  const base = { at, align: "left" as const, name: plate.name };
  if (plate.refused) {
    return [
      {
        ...base,
        text: `${plate.name}: ${plate.refused}`,
        priority: 20,
        span: width,
        rise: 0,
        role: "reason",
      },
    ];
  }
  if (plate.lead > 0) return [];
  const priority = { stream: 30, end: 30, lens: 36, output: 36, wing: 34, head: 50, shelf: 70 }[
    plate.station
  ];
  const role = plate.kind === "weight" ? "weight" : "site";
  return [
    {
      ...base,
      text: plate.kind === "weight" ? shortName(plate.name) : plate.name,
      priority,
      span: width,
      rise,
      role,
    },
  ];
}
