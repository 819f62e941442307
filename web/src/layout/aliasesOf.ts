import type { Anatomy } from "../protocol/schema.generated";

/** The residual before a block is the residual after the one before it: one tensor with two addresses, drawn once. */
export function aliasesOf(anatomy: Anatomy): Map<string, string> {
  const aliases = new Map<string, string>();
  for (let index = 1; index < anatomy.blocks.length; index++) {
    const before = anatomy.blocks[index - 1]?.sites.find((site) => site.point === "resid_post");
    const after = anatomy.blocks[index]?.sites.find((site) => site.point === "resid_pre");
    if (before && after && before.axes.join() === after.axes.join())
      aliases.set(after.address, before.address);
  }
  return aliases;
}
