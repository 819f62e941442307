import { isTokenAxis } from "../protocol/isTokenAxis";
import type { Site, Weight } from "../protocol/schema.generated";
import type { Frame } from "./Frame";
import { inputsOf } from "./inputsOf";
import type { Order } from "./orderOf";
import { type Plate, plateOn, type Side, type Station } from "./Plate";

export interface Placement {
  frame: Frame;
  x: number;
  y: number;
  width: number;
  height: number;
  station: Station;
  /** Index along the leading axis; -1: the tensor has two axes. */
  lead?: number;
  /** Tokens run down instead of across (q and z, whose rows line up with those of the pattern). */
  flip?: boolean;
}

const THICKNESS: Record<Station, number> = {
  stream: 7,
  lens: 2,
  output: 3,
  head: 1.2,
  wing: 2.4,
  shelf: 1.2,
  end: 4,
};

const BRIGHTNESS: Record<Station, number> = {
  stream: 1,
  lens: 0.55,
  output: 0.7,
  head: 0.7,
  wing: 0.7,
  shelf: 1,
  end: 0.85,
};
/** Scores are what a pattern was made from: the pattern leads. */
const SCORES_BRIGHTNESS = 0.4;

/** Makes plates of sites and weights: the one place that knows which way an axis runs. */
export class PlateMaker {
  readonly columns: number;
  readonly order: Order;
  private readonly unexplained: string;

  constructor(columns: number, order: Order, unexplained: string) {
    this.columns = columns;
    this.order = order;
    this.unexplained = unexplained;
  }

  /** `pos` and `key` run across, everything else down, unless flipped. */
  site(site: Site, at: Placement): Plate {
    const rank = site.axes.length;
    const side = (axis: number): Side => ({
      axis,
      count: this.countOf(site.axes[axis] ?? "", site.shape[axis]),
    });
    const last = side(rank - 1);
    const before = side(rank - 2);
    const keysRunAcross = site.axes[rank - 1] === "key";
    const tokensAcross = keysRunAcross || at.flip === true;
    return plateOn(at.frame, at.x, at.y, at.width, at.height, {
      name: site.address,
      kind: "site",
      station: at.station,
      block: site.block ?? null,
      axes: site.axes,
      lead: at.lead ?? (rank > 2 ? 0 : -1),
      leads: leadsOf(site.shape),
      thickness: THICKNESS[at.station],
      brightness: brightnessOf(site, at.station),
      columns: tokensAcross ? last : before,
      rows: tokensAcross ? before : last,
      paint: site.scale ?? "diverging",
      order: this.order.get(site.address) ?? [0, 0],
      refused: site.check.status === "refused" ? (site.check.reason ?? this.unexplained) : null,
      unchecked: site.check.status === "unchecked" || site.check.status === "shape",
      inputs: inputsOf(site.equation),
    });
  }

  /** As stored, or on its side where the place asks for that. */
  weight(weight: Weight, at: Placement): Plate {
    const rank = weight.axes.length;
    const side = (axis: number): Side => ({ axis, count: axis < 0 ? 1 : (weight.shape[axis] ?? 1) });
    const isOne = rank > 2 && leadsOf(weight.shape) > 1 && !isStack(weight);
    const last = side(rank - 1);
    const before = side(isOne ? 0 : rank > 1 ? rank - 2 : -1);
    return plateOn(at.frame, at.x, at.y, at.width, at.height, {
      name: weight.name,
      kind: "weight",
      station: at.station,
      block: weight.block ?? null,
      axes: weight.axes,
      lead: rank > 2 && !isOne ? (at.lead ?? 0) : -1,
      leads: leadsOf(weight.shape),
      thickness: THICKNESS[at.station],
      brightness: BRIGHTNESS[at.station],
      columns: at.flip ? before : last,
      rows: at.flip ? last : before,
      paint: "weight",
      order: this.order.get(weight.name) ?? [0, 0],
      refused: null,
      unchecked: false,
      inputs: [],
    });
  }

  private countOf(axis: string, size: number | null | undefined): number {
    return isTokenAxis(axis) ? this.columns : (size ?? 1);
  }
}

/** Whether a weight is a matrix for each index of its first axis, as that of experts; a convolution's kernels are one. */
export function isStack(weight: Weight): boolean {
  return weight.shape.length > 2 && weight.shape.at(-2) !== 1;
}

/** How many matrices a tensor holds. */
function leadsOf(shape: readonly (number | null)[]): number {
  return shape.slice(0, -2).reduce<number>((product, size) => product * (size ?? 1), 1);
}

function brightnessOf(site: Site, station: Station): number {
  if (site.scale === "probability") return 1;
  return site.axes.includes("key") ? SCORES_BRIGHTNESS : BRIGHTNESS[station];
}
