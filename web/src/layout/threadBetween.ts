import type { Edge } from "./Layout";
import { add, length, subtract, type Vec3 } from "./Vec3";

const OUT: Record<"left" | "right" | "down", Vec3> = { left: [-1, 0, 0], right: [1, 0, 0], down: [0, -1, 0] };

/** A thread that leaves and arrives along one direction, like a light guide. */
export function threadBetween(
  from: Vec3,
  to: Vec3,
  order: readonly [number, number],
  kind: Edge["kind"],
  direction: keyof typeof OUT,
): Edge {
  const reach = length(subtract(to, from)) * 0.45;
  const out = OUT[direction].map((each) => each * reach) as unknown as Vec3;
  return { points: [from, add(from, out), subtract(to, out), to], order, kind };
}
