import type { Anatomy, ModelShape } from "../protocol/schema.generated";
import { type SampleSizes, sampleAnatomy } from "./sampleAnatomy";

/** The anatomy of a sample and its shape, in which all blocks are one template. */
export function sampleShape(sizes: SampleSizes, parameters: number): { whole: Anatomy; shape: ModelShape } {
  const whole: Anatomy = { ...sampleAnatomy(sizes), device: "meta", parameters };
  const [block] = whole.blocks;
  if (!block) throw new Error("a sample has blocks");
  const shape: ModelShape = {
    shape_id: "sample",
    source: "bundled",
    anatomy: { ...whole, blocks: [] },
    stem: "blocks",
    templates: [
      {
        block,
        blocks: whole.blocks.map(({ index }) => index),
        parts: [
          { kind: "attention", parameters: 100, active: 100 },
          { kind: "mlp", parameters: 200, active: 200 },
          { kind: "norm", parameters: 2, active: 2 },
        ],
      },
    ],
    parts: [{ kind: "embedding", parameters: 50, active: 50 }],
    active: parameters,
    cached: 8,
    latent: null,
  };
  return { whole, shape };
}
