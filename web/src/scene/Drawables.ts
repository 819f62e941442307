import type { View } from "../layout/Camera";
import type { Label, Layout } from "../layout/Layout";
import type { Plate } from "../layout/Plate";
import type { Curve } from "./Curve";
import { detailedBlocks } from "./visiblePlates";

const FLOW_STRENGTH = 0.3;
const SHARED_STRENGTH = 0.2;

/** The part of a layout that is drawn from this view: blocks that are large enough in full, others as their stream. */
export interface Drawables {
  /** Changes when the set does. */
  key: string;
  plates: Plate[];
  labels: Label[];
  curves: Curve[];
}

export const NOTHING: Drawables = { key: "", plates: [], labels: [], curves: [] };

/** The drawables for a view; the same object as `before` if nothing changed. */
export function collectDrawables(layout: Layout, view: View, before: Drawables): Drawables {
  const detailed = new Set(detailedBlocks(layout, view));
  const key = `b${[...detailed].map((block) => block.index).join()}`;
  if (key === before.key) return before;
  const plates = [...layout.plates];
  const labels = [...layout.labels];
  const edges = [...layout.edges];
  for (const block of layout.blocks) {
    labels.push(block.label);
    if (!detailed.has(block)) {
      plates.push(...block.far);
      continue;
    }
    const detail = block.detail();
    plates.push(...detail.plates);
    labels.push(...detail.labels);
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
