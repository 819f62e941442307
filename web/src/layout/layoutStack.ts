import type { Site, Weight } from "../protocol/schema.generated";
import type { Frame } from "./Frame";
import { type Place, spineLeft } from "./Place";
import type { Plate } from "./Plate";
import type { PlateMaker } from "./PlateMaker";

/** A plate of the stream itself is this many times as high as a lens. */
const STREAM_SHARE = 2.5;
/** Air between the plates of the spine, in lens heights. */
const AIR_SHARE = 0.62;
/** Lenses and outputs stand behind the stream. */
const BEHIND = 10;
const NORM_WIDTH = 2.4;
const NORM_GAP = 3;
const HEAD_NORMS = ["q_norm", "k_norm"];

/** Whether a site is tokens by the model's width: what stands in the spine. */
export function isStream(site: Site): boolean {
  return site.axes.length === 2 && site.axes[0] === "pos" && site.axes[1] === "d_model";
}

/** The part of a block that stands in the spine: the stream, lenses on the way out, outputs on the way in. */
export function layoutStack(sites: Site[], height: number, place: Place): Plate[] {
  const { metrics, maker } = place;
  const isResid = (site: Site) => site.point.startsWith("resid") || site.point === "embeddings";
  const shares = sites.map((site) => (isResid(site) ? STREAM_SHARE : 1));
  const unit = height / (shares.reduce((sum, share) => sum + share, 0) + AIR_SHARE * sites.length);
  let y = place.top - unit * AIR_SHARE * 0.5;
  return sites.map((site, index) => {
    const own = unit * (shares[index] ?? 1);
    const corner: Frame["corner"] = [spineLeft(place), y, isResid(site) ? 0 : -BEHIND];
    y -= own + unit * AIR_SHARE;
    return maker.site(site, {
      frame: { corner, right: [1, 0, 0], down: [0, -1, 0] },
      x: 0,
      y: 0,
      width: metrics.spineWidth,
      height: own,
      station: isResid(site) ? "stream" : /_in$|norm/.test(site.point) ? "lens" : "output",
    });
  });
}

/** Whether a weight is a vector of a norm over the stream. */
export function isNorm(weight: Weight): boolean {
  return weight.axes.length === 1 && /norm$/.test(weight.role) && !HEAD_NORMS.includes(weight.role);
}

/** A norm's weight lies along its lens, feature by feature, on the side that the lens looks to. */
export function layoutNorms(norms: Weight[], stack: Plate[], maker: PlateMaker): Plate[] {
  const lenses = stack.filter((plate) => plate.station === "lens");
  return norms.flatMap((weight, index) => {
    const lens = stack.find((plate) => plate.inputs.includes(weight.name)) ?? lenses[index] ?? stack[0];
    if (!lens) return [];
    const mates = norms.filter((other) => other.role === weight.role);
    const out = NORM_GAP + (NORM_WIDTH + 1) * mates.indexOf(weight);
    const left = weight.role === "attn_norm";
    const x = left ? lens.corner[0] - out - NORM_WIDTH : lens.corner[0] + lens.right[0] + out;
    const frame: Frame = { corner: [x, lens.corner[1], lens.corner[2]], right: [1, 0, 0], down: [0, -1, 0] };
    const height = -lens.down[1];
    return [
      maker.weight(weight, { frame, x: 0, y: 0, width: NORM_WIDTH, height, station: "shelf", flip: true }),
    ];
  });
}
