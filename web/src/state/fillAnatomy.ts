import type { Anatomy, CheckedParts } from "../protocol/schema.generated";

/** The anatomy with parts that have been checked since in their places; all else in it stays the very same. */
export function fillAnatomy(anatomy: Anatomy, found: CheckedParts): Anatomy {
  const checked = new Map(found.blocks.map((block) => [block.index, block]));
  return {
    ...anatomy,
    before: found.before.length > 0 ? found.before : anatomy.before,
    blocks: anatomy.blocks.map((block) => checked.get(block.index) ?? block),
    after: found.after.length > 0 ? found.after : anatomy.after,
    checked: found.checked,
  };
}

/** Whether one anatomy is another with more of it checked. */
export function isSameModel(before: Anatomy, after: Anatomy): boolean {
  return before.weights === after.weights;
}
