import type { Block, Site, Weight } from "../protocol/schema.generated";
import { type Frame, pointOn, shifted } from "./Frame";
import type { BlockDetail, Edge, Label } from "./Layout";
import { labelsOf, reasonsOf } from "./labelsOf";
import { isChange, layoutChanges, roomForChanges } from "./layoutChanges";
import { type Card, cardsOf, chooseHeadGrid, layoutHeads } from "./layoutHeads";
import { layoutShelf, shelfFrame } from "./layoutShelf";
import { isNorm, isStream, layoutNorms, layoutStack } from "./layoutStack";
import { layoutWing } from "./layoutWing";
import { type Place, wingFrames } from "./Place";
import { type Plate, pointAt } from "./Plate";
import { threadBetween } from "./threadBetween";

const HEAD_ROLES = ["q", "k", "v", "qkv", "o", "q_norm", "k_norm"];
const HEAD_POINTS = ["q", "k", "v", "attn_scores", "attn_probs", "z"];
const MLP_ROLES = ["gate", "up", "down"];
/** How families name the module that a weight of no known role is part of. */
const MLP_NAMES = /mlp|moe|expert|ffn|feed_forward|router/i;
/** Under the wings, before the next block begins. */
const FOOT = 6;
/** The shelf hides this much of what stands behind it from a first camera at this pitch, in radians. */
const PITCH = 0.26;
/** More threads than this from or to the heads would be a cloth: every n-th is drawn. */
const THREADS_MAX = 24;

/** All that is in one block: the stack in the spine, heads to its left, the MLP to its right, weights on their shelves. */
export function layoutBlock(block: Block, place: Place): BlockDetail {
  const { metrics, maker } = place;
  const sites = block.sites.filter(place.isDrawn);
  const stack = layoutStack(sites.filter(isStream), metrics.floor, place);
  const { attention, mlp } = wingFrames(place);
  const below = metrics.shelf * Math.sin(metrics.slope + PITCH) + 2;
  const height = metrics.floor - FOOT - below;

  const upper = height - roomForChanges(sites);
  const heads = layoutFan(block, stack, shifted(attention, 0, below), upper, place);
  const isOfHead = (site: Site) => block.heads != null && HEAD_POINTS.includes(site.point);
  const isWing = (site: Site) => !isStream(site) && !isOfHead(site) && !isChange(site);
  const wings = layoutWing(sites.filter(isWing), shifted(mlp, 0, below), metrics.wingWidth, upper, maker);
  const changed = [
    ...layoutChanges(sites, "attention", shifted(attention, 0, below), metrics.attentionWidth, height, maker),
    ...layoutChanges(sites, "mlp", shifted(mlp, 0, below), metrics.wingWidth, height, maker),
  ];
  const norms = block.weights.filter(isNorm);
  const ofHeads = block.weights.filter((weight) => !norms.includes(weight) && isOfMixer(weight, block));
  const rest = block.weights.filter((weight) => !norms.includes(weight) && !ofHeads.includes(weight));
  const plates = [
    ...stack,
    ...heads.plates,
    ...wings,
    ...changed,
    ...layoutShelf(
      ofHeads,
      shelfFrame(attention, metrics.slope),
      metrics.attentionWidth,
      metrics.shelf,
      maker,
    ),
    ...layoutShelf(rest, shelfFrame(mlp, metrics.slope), metrics.wingWidth, metrics.shelf, maker),
    ...layoutNorms(norms, stack, maker),
  ];
  return {
    plates,
    edges: [...heads.edges, ...threadsOfWings(wings, stack)],
    labels: [...heads.labels, ...plates.flatMap((plate) => labelsOf(plate, place.texts))],
  };
}

/**
 * Whether a weight is part of what mixes positions, attention or another, rather than of the MLP. Where its role does
 * not say, it belongs where others of its module do; a module of its own is the MLP's only by name.
 */
export function isOfMixer(weight: Weight, block: Block): boolean {
  if (HEAD_ROLES.includes(weight.role)) return true;
  if (MLP_ROLES.includes(weight.role)) return false;
  const isMate = (other: Weight) => moduleOf(other) === moduleOf(weight);
  if (block.weights.some((other) => HEAD_ROLES.includes(other.role) && isMate(other))) return true;
  if (block.weights.some((other) => MLP_ROLES.includes(other.role) && isMate(other))) return false;
  return !MLP_NAMES.test(moduleOf(weight));
}

/** The part of a weight's name after the block's number: `self_attn` of `model.layers.3.self_attn.q_proj.weight`. */
function moduleOf(weight: Weight): string {
  return /\.\d+\.([^.]+)/.exec(weight.name)?.[1] ?? weight.name;
}

/** The plate of the spine that a plate reads, and the one that reads it. */
const sourceOf = (plate: Plate | undefined, stack: Plate[]) =>
  stack.find((each) => plate?.inputs.includes(each.name));
const sinkOf = (plate: Plate | undefined, stack: Plate[]) =>
  plate && stack.find((each) => each.inputs.includes(plate.name));

/** The heads with their numbers, and threads from the lens to k, from shared k to its heads, and from z to the output. */
function layoutFan(block: Block, stack: Plate[], frame: Frame, height: number, place: Place): BlockDetail {
  const fan: BlockDetail = { plates: [], edges: [], labels: [] };
  if (!block.heads) return fan;
  const { maker, metrics } = place;
  const grid = chooseHeadGrid(block.heads, block.kv_heads ?? block.heads, metrics.attentionWidth, height);
  fan.plates = layoutHeads(block, frame, grid, maker);
  fan.labels.push(...reasonsOf(fan.plates, frame, metrics.attentionWidth, place.texts));
  const find = (point: string, lead: number) =>
    fan.plates.find((plate) => plate.name === `${point}.${block.index}` && plate.lead === lead);
  const step = Math.ceil(block.heads / THREADS_MAX);
  for (const card of cardsOf(grid)) {
    fan.labels.push(headLabel(card, frame));
    if (card.head % step > 0) continue;
    const [k, probs, z] = [find("k", card.kvHead), find("attn_probs", card.head), find("z", card.head)];
    const [read, write] = [sourceOf(k, stack), sinkOf(z, stack)];
    const isFirst = card.head % grid.perGroup === 0;
    if (isFirst && read && k) {
      fan.edges.push(threadBetween(pointAt(read, 0, 0.5), pointAt(k, 1, 0), k.order, "flow", "left"));
    }
    if (!isFirst && k && probs) {
      const to = pointOn(frame, card.x + card.strip, card.y);
      fan.edges.push(threadBetween(pointAt(k, 0, 1), to, probs.order, "shared", "down"));
    }
    if (write && z) {
      fan.edges.push(threadBetween(pointAt(z, 1, 0.5), pointAt(write, 0, 0.5), write.order, "flow", "right"));
    }
  }
  return fan;
}

function headLabel(card: Card, frame: Frame): Label {
  return {
    text: `${card.head}`,
    at: pointOn(frame, card.x, card.y),
    align: "right",
    priority: 60,
    span: card.width * 0.5,
    rise: card.height,
    role: "head",
    name: null,
  };
}

/** Threads from the lens to the plates that read it, and from the one that the output reads. */
function threadsOfWings(wings: Plate[], stack: Plate[]): Edge[] {
  return wings.flatMap((plate) => {
    const [read, write] = [sourceOf(plate, stack), sinkOf(plate, stack)];
    const edges: Edge[] = [];
    if (read)
      edges.push(threadBetween(pointAt(read, 1, 0.5), pointAt(plate, 0, 0.5), plate.order, "flow", "right"));
    if (write)
      edges.push(threadBetween(pointAt(plate, 0, 0.5), pointAt(write, 1, 0.5), write.order, "flow", "left"));
    return edges;
  });
}
