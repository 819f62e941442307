import type { Anatomy, Site, Weight } from "../protocol/schema.generated";
import type { Frame } from "./Frame";
import { layoutShelf, shelfFrame } from "./layoutShelf";
import { isNorm, isStream, layoutNorms, layoutStack } from "./layoutStack";
import { END_SHARE, ROOF_SHARE } from "./Metrics";
import { type Place, spineLeft, wingFrames } from "./Place";
import type { Plate } from "./Plate";

const ROOF_ROLES = ["token_embedding", "position_embedding"];
/** The roof stands clear of the names of the first block. */
const ROOF_LIFT = 12;
/** The left part of the roof leaves the title of the stream its room. */
const ROOF_LEFT_SHARE = 0.58;
/** Shares of the end's height: the last norm, then the logits. */
const NORM_SHARE = 0.26;
const LOGITS_SHARE = 0.7;

/** The embeddings above the first block, under a roof of the tables they are looked up in. */
export function layoutRoof(anatomy: Anatomy, place: Place): Plate[] {
  const { metrics, maker } = place;
  const weights = anatomy.weights.filter((weight) => ROOF_ROLES.includes(weight.role));
  const { attention, mlp } = wingFrames({ ...place, top: place.top + ROOF_LIFT });
  const onLeft = (weight: Weight) => weight.role === "position_embedding";
  const shelf = (own: Weight[], frame: Frame, width: number) =>
    layoutShelf(own, shelfFrame(frame, metrics.slope), width, metrics.shelf, maker);
  return [
    ...layoutStack(anatomy.before.filter(isStream), metrics.floor * ROOF_SHARE, place),
    ...shelf(weights.filter(onLeft), attention, metrics.attentionWidth * ROOF_LEFT_SHARE),
    ...shelf(
      weights.filter((weight) => !onLeft(weight)),
      mlp,
      metrics.wingWidth,
    ),
  ];
}

/** What follows the last block: the final norm, the logits, and the table they are read with. */
export function layoutBase(anatomy: Anatomy, place: Place): Plate[] {
  const { metrics, maker } = place;
  const height = metrics.floor * END_SHARE;
  const sites = anatomy.after.filter((site) => site.axes[0] === "pos");
  const stack = layoutStack(sites.filter(isStream), height * NORM_SHARE, place);
  const logits = sites.filter((site) => !isStream(site));
  const own = (height * LOGITS_SHARE) / Math.max(1, logits.length);
  const weights = anatomy.weights.filter((weight) => !ROOF_ROLES.includes(weight.role));
  const table = weights.filter((weight) => !isNorm(weight));
  const frame = shelfFrame(wingFrames(place).mlp, metrics.slope);
  return [
    ...stack,
    ...logits.map((site, index) =>
      layoutLogits(site, place.top - height * (NORM_SHARE + 0.04) - index * own, own - 3, place),
    ),
    ...layoutNorms(weights.filter(isNorm), stack, maker),
    ...layoutShelf(table, frame, metrics.wingWidth, metrics.shelf, maker),
  ];
}

function layoutLogits(site: Site, top: number, height: number, place: Place): Plate {
  const frame: Frame = { corner: [spineLeft(place), top, 0], right: [1, 0, 0], down: [0, -1, 0] };
  return place.maker.site(site, {
    frame,
    x: 0,
    y: 0,
    width: place.metrics.spineWidth,
    height,
    station: "end",
  });
}
