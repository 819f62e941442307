import type { View } from "../layout/Camera";
import type { BlockPlace, Edge, Label, Layout } from "../layout/Layout";
import { type Plate, pointAt } from "../layout/Plate";
import type { Curve } from "./Curve";
import { detailedBlocks, middleOf, type NearSpan, nearnessOf } from "./visiblePlates";

/** How near a block's matrices must be to carry their names: before that, its mosaics are still there. */
const NAMED = 0.5;
const FLOW_STRENGTH = 0.3;
const SHARED_STRENGTH = 0.2;

/** The part of a layout that is drawn in full from this view: what is near. What is far is drawn by `FarView`. */
export interface Drawables {
  /** Changes when the set does. */
  key: string;
  plates: Plate[];
  labels: Label[];
  curves: Curve[];
}

export const NOTHING: Drawables = { key: "", plates: [], labels: [], curves: [] };

/** The drawables for a view; the same object as `before` if nothing changed. */
export function collectDrawables(layout: Layout, view: View, span: NearSpan, before: Drawables): Drawables {
  const detailed = new Set(detailedBlocks(layout, view, span));
  const ends = layout.plates.filter((plate) => nearnessOf(span, view, pointAt(plate, 0.5, 0.5)) > 0);
  const named = new Set([...detailed].filter((block) => nearnessOf(span, view, middleOf(block)) > NAMED));
  const indices = (blocks: Iterable<BlockPlace>) => [...blocks].map(({ index }) => index).join();
  const key = `b${indices(detailed)} n${indices(named)} e${ends.map((plate) => plate.name).join()}`;
  if (key === before.key) return before;
  const plates = [...ends];
  const isShown = ({ role, name }: Label) =>
    (role !== "site" && role !== "weight" && role !== "reason") ||
    name === null ||
    ends.some((plate) => plate.name === name);
  const labels = layout.labels.filter(isShown);
  const edges: Edge[] = [];
  for (const block of layout.blocks) {
    labels.push(block.label);
    if (!detailed.has(block)) continue;
    const detail = block.detail();
    plates.push(...detail.plates);
    if (named.has(block)) labels.push(...detail.labels);
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
  return { key, plates, labels, curves };
}
