import type { Anatomy } from "../protocol/schema.generated";
import { inputsOf, sitesOf } from "./inputsOf";

export type Order = ReadonlyMap<string, readonly [number, number]>;

/**
 * When each site and weight has its turn, as fractions of the whole computation.
 *
 * The depth of a site in its block's own dependencies decides, not its place in the list: the heads' q, k and v light
 * together. Blocks take equal time.
 */
export function orderOf(anatomy: Anatomy): Order {
  const order = new Map<string, readonly [number, number]>();
  const groups = [anatomy.before, ...anatomy.blocks.map((block) => block.sites), anatomy.after];
  const total = groups.length;
  groups.forEach((sites, group) => {
    const own = new Set(sites.map((site) => site.address));
    const depths = new Map<string, number>();
    for (const site of sites) {
      const before = inputsOf(site.equation).filter((name) => own.has(name));
      const known = before.map((name) => depths.get(name) ?? 0);
      const fallback = before.length === 0 && depths.size > 0 ? Math.max(...depths.values()) : 0;
      depths.set(site.address, before.length ? Math.max(...known) + 1 : fallback);
    }
    const deepest = Math.max(1, ...depths.values()) + 1;
    for (const [address, depth] of depths) {
      order.set(address, [(group + depth / deepest) / total, (group + (depth + 1) / deepest) / total]);
    }
  });
  for (const site of sitesOf(anatomy)) {
    const turn = order.get(site.address);
    if (!turn) continue;
    for (const name of inputsOf(site.equation)) if (!order.has(name)) order.set(name, turn);
  }
  return order;
}
