import type { Anatomy, Block, ModelShape } from "../protocol/schema.generated";

/** Each block of a shape written out, as in the anatomy of a model that is loaded. */
export function expandShape({ anatomy, templates, stem }: ModelShape): Anatomy {
  const blocks = templates.flatMap(({ block, blocks }) =>
    blocks.map((index) => renumberBlock(block, index, stem)),
  );
  return { ...anatomy, blocks: blocks.sort((a, b) => a.index - b.index) };
}

function renumberBlock(block: Block, index: number, stem: string): Block {
  const [before, after] = [`${stem}.${block.index}.`, `${stem}.${index}.`];
  return {
    ...block,
    index,
    sites: block.sites.map((site) => ({ ...site, address: `${site.point}.${index}`, block: index })),
    weights: block.weights.map((weight) => ({
      ...weight,
      name: weight.name.replace(before, after),
      block: index,
    })),
  };
}

/** Whether a model is there in shape alone: there are no values of it to show, and none to fetch. */
export function isShape(anatomy: Anatomy | null): boolean {
  return anatomy?.device === "meta";
}
