import type { Site, Weight } from "../protocol/schema.generated";
import { type Frame, shifted } from "./Frame";
import type { Plate } from "./Plate";
import type { PlateMaker } from "./PlateMaker";

const GAP = 4;
/** What an adapter's A makes is a few features: a strip, this high, at the foot of the side it belongs to. */
const STRIP = 9;
const OF_HEADS = ["lora_q", "lora_k", "lora_v", "lora_qkv", "lora_o"];

/** Whether a site is what an adapter's A makes of what a matrix reads. */
export const isChange = (site: Site) => site.point.startsWith("lora_");

/** Whether a weight is an adapter's A or B. */
export const isChangeWeight = (weight: Weight) => weight.role === "lora_a" || weight.role === "lora_b";

/** Whether an adapter's A or B belongs to a matrix: `q_proj.lora_A.weight` to `q_proj.weight`. */
export function changes(weight: Weight, matrix: Weight): boolean {
  return isChangeWeight(weight) && weight.name.startsWith(matrix.name.replace(/weight$/, "lora_"));
}

/** How much of a side's height the strips at its foot take; nothing where no adapter changes the block. */
export function roomForChanges(sites: Site[]): number {
  return sites.some(isChange) ? STRIP + GAP : 0;
}

/** The strips of one side, each as wide as the next, along the foot of a frame of that size. */
export function layoutChanges(
  sites: Site[],
  side: "attention" | "mlp",
  frame: Frame,
  width: number,
  height: number,
  maker: PlateMaker,
): Plate[] {
  const own = sites.filter(
    (site) => isChange(site) && OF_HEADS.includes(site.point) === (side === "attention"),
  );
  const each = (width - GAP * (own.length - 1)) / Math.max(1, own.length);
  const foot = shifted(frame, 0, height - STRIP);
  return own.map((site, at) =>
    maker.site(site, {
      frame: foot,
      x: at * (each + GAP),
      y: 0,
      width: each,
      height: STRIP,
      station: "wing",
    }),
  );
}
