import type { Block } from "../protocol/schema.generated";

/** How many experts a block's router chooses from; 0 where there is no router. */
export function expertsOf(block: Block | undefined): number {
  const site = block?.sites.find(({ axes }) => axes.at(-1) === "expert");
  return site?.shape.at(-1) ?? 0;
}
