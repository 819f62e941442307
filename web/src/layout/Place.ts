import type { Site } from "../protocol/schema.generated";
import type { Frame } from "./Frame";
import type { LayoutTexts } from "./LayoutTexts";
import type { Metrics } from "./Metrics";
import type { PlateMaker } from "./PlateMaker";

/** Where a block (or what stands before and after the blocks) has its place. */
export interface Place {
  /** The middle of its tower's spine in x, and its own top in y. */
  x: number;
  top: number;
  metrics: Metrics;
  maker: PlateMaker;
  texts: LayoutTexts;
  isDrawn(site: Site): boolean;
}

/** The wings stand a little behind the spine. */
const BEHIND = 16;

/** The two sides of a place: frames that sweep back from the spine, reading left to right. */
export function wingFrames(place: Place): { attention: Frame; mlp: Frame } {
  const { metrics, x, top } = place;
  const [cos, sin] = [Math.cos(metrics.sweep), Math.sin(metrics.sweep)];
  const from = metrics.spineWidth / 2 + metrics.gap;
  const beyond = metrics.spineWidth / 2 + metrics.gutter;
  const y = top - 2;
  const { attentionWidth } = metrics;
  return {
    attention: {
      corner: [x - from - cos * attentionWidth, y, -BEHIND - sin * attentionWidth],
      right: [cos, 0, sin],
      down: [0, -1, 0],
    },
    mlp: { corner: [x + beyond, y, -BEHIND], right: [cos, 0, -sin], down: [0, -1, 0] },
  };
}

/** Left edge of the spine at a place. */
export function spineLeft(place: Place): number {
  return place.x - place.metrics.spineWidth / 2;
}
