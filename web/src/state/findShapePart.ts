import { isOfMixer } from "../layout/layoutBlock";
import type { Block, BlockTemplate, ModelShape, PartSize, Weight } from "../protocol/schema.generated";

/** A part of a shape, as it is pointed at from afar. */
export interface ShapePart {
  shape: ModelShape;
  template: BlockTemplate;
  kind: "attention" | "mixer" | "mlp";
  block: number;
  head: number | null;
  /** The kinds of numbers in it, and how many of each one such block has. */
  sizes: PartSize[];
  weights: Weight[];
}

const PART = /^(?:(\d+):)?(attention|head|mixer|mlp)\.(\d+)(?:\.(\d+))?$/;
const IN_MIXER: readonly PartSize["kind"][] = ["attention", "mixer"];
const IN_MLP: readonly PartSize["kind"][] = ["router", "experts", "shared_experts", "mlp"];

/** The part of that name, `head.3.5` or, where models stand side by side, `1:head.3.5`; null where there is none. */
export function findShapePart(shapes: readonly ModelShape[], name: string): ShapePart | null {
  const match = PART.exec(name);
  const shape = shapes[Number(match?.[1] ?? 0)];
  const block = Number(match?.[3]);
  const template = shape?.templates.find(({ blocks }) => blocks.includes(block));
  if (!match || !shape || !template) return null;
  const said = match[2] as "attention" | "head" | "mixer" | "mlp";
  const kind = said === "head" ? "attention" : said;
  const kinds = kind === "mlp" ? IN_MLP : IN_MIXER;
  return {
    shape,
    template,
    kind,
    block,
    head: match[4] === undefined ? null : Number(match[4]),
    sizes: template.parts.filter((part) => kinds.includes(part.kind)),
    weights: weightsOf(template.block, kind, block, shape.stem),
  };
}

function weightsOf(block: Block, kind: ShapePart["kind"], index: number, stem: string): Weight[] {
  return block.weights
    .filter((weight) => !/norm/.test(weight.role) && isOfMixer(weight, block) === (kind !== "mlp"))
    .map((weight) => ({
      ...weight,
      name: weight.name.replace(`${stem}.${block.index}.`, `${stem}.${index}.`),
    }));
}
