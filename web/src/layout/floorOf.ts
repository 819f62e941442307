import type { Layout } from "./Layout";

/** The height of a block in the world; of a model without blocks, that of its spine. */
export function floorOf({ boundaries, spine }: Pick<Layout, "boundaries" | "spine">): number {
  const [first, second] = boundaries;
  return first === undefined || second === undefined ? spine.top - spine.bottom : first - second;
}
