import type { View } from "../layout/Camera";
import type { Edge, Label, Layout } from "../layout/Layout";
import type { Plate } from "../layout/Plate";
import { middleOf } from "../layout/Rect";
import type { Vec3 } from "../layout/Vec3";
import type { Curve } from "./Curve";
import { type NearBlock, nearBlocks, pointsOf } from "./nearBlocks";
import { type NearSpan, nearnessOf } from "./visiblePlates";

/** How near a block's matrices must be to carry their names: before that, its mosaics are still there. */
const NAMED = 0.5;
const FLOW_STRENGTH = 0.3;
const SHARED_STRENGTH = 0.2;

/** The part of a layout that is drawn in full from this view: what is near. What is far is drawn by `FarView`. */
export interface Drawables {
  /** Changes when the set does. */
  key: string;
  plates: Plate[];
  /** For each plate, where it is judged how near it is. */
  points: (readonly Vec3[])[];
  labels: Label[];
  curves: Curve[];
}

export const NOTHING: Drawables = { key: "", plates: [], points: [], labels: [], curves: [] };

/** The drawables for a view; the same object as `before` if nothing changed. */
export function collectDrawables(layout: Layout, view: View, span: NearSpan, before: Drawables): Drawables {
  const near = nearBlocks(layout, view, span);
  const detailed = new Map(near.map((each) => [each.block, each]));
  const ends = layout.plates.filter((plate) => nearnessOf(span, view, middleOf(plate)) > 0);
  const named = new Set(near.filter(({ nearness }) => nearness > NAMED));
  const indices = (blocks: Iterable<NearBlock>) => [...blocks].map(({ block }) => block.index).join();
  const key = `b${indices(near)} n${indices(named)} e${ends.map((plate) => plate.name).join()}`;
  if (key === before.key) return before;
  const plates = [...ends];
  const points = ends.map((plate): readonly Vec3[] => [middleOf(plate)]);
  const isShown = ({ role, name }: Label) =>
    (role !== "site" && role !== "weight" && role !== "reason") ||
    name === null ||
    ends.some((plate) => plate.name === name);
  const labels = layout.labels.filter(isShown);
  const edges: Edge[] = [];
  for (const block of layout.blocks) {
    labels.push(block.label);
    const drawn = detailed.get(block);
    if (!drawn) continue;
    const detail = block.detail();
    plates.push(...detail.plates);
    points.push(...detail.plates.map((plate) => pointsOf(plate, layout.spine, drawn.sides)));
    if (named.has(drawn)) labels.push(...detail.labels);
    edges.push(...detail.edges);
  }
  const curves = edges.map((edge) => ({
    points: edge.points,
    order: edge.order,
    widthPx: 1,
    strength: edge.kind === "shared" ? SHARED_STRENGTH : FLOW_STRENGTH,
    token: -1,
    selected: false,
  }));
  return { key, plates, points, labels, curves };
}
