import i18next from "i18next";
import { expandShape } from "../layout/expandShape";
import type { PartTitle, ShapeNames, ShapeView } from "../layout/ShapeView";
import { formatCount } from "../panels/formatNumber";
import type { ModelShape, PartSize } from "../protocol/schema.generated";
import { findShapePart } from "../state/findShapePart";
import { nameWithSize, sayLarge } from "../state/nameWithSize";

/** What the scene draws of models without weights; null where there are none. */
export function viewShapes(shapes: readonly ModelShape[]): ShapeView | null {
  if (shapes.length === 0) return null;
  const known = new Map<string, number>();
  const most = shapes.map(largestPart);
  return {
    anatomies: shapes.map(expandShape),
    names: shapes.map(nameParts),
    lightOf(part) {
      const light = known.get(part);
      if (light !== undefined) return light;
      const found = findShapePart(shapes, part);
      const share = found ? sum(found.sizes) / (most[shapes.indexOf(found.shape)] ?? 1) : 0;
      known.set(part, share);
      return share;
    },
  };
}

const sum = (sizes: readonly PartSize[]) => sizes.reduce((total, size) => total + size.parameters, 0);

/** The parameters of the largest part that one block of a model has. */
function largestPart(shape: ModelShape): number {
  const parts = shape.templates.flatMap(({ block }) =>
    ["attention", "mixer", "mlp"].map((kind) =>
      sum(findShapePart([shape], `${kind}.${block.index}`)?.sizes ?? []),
    ),
  );
  return Math.max(1, ...parts);
}

function nameParts(shape: ModelShape): ShapeNames {
  const { anatomy, templates } = shape;
  const inAll = (...kinds: PartSize["kind"][]) =>
    sayLarge(
      templates.reduce(
        (total, { parts, blocks }) =>
          total + sum(parts.filter((part) => kinds.includes(part.kind))) * blocks.length,
        0,
      ),
    );
  const count = (isOne: (template: ModelShape["templates"][number]) => boolean) =>
    templates.filter(isOne).reduce((total, { blocks }) => total + blocks.length, 0);
  const attends = count(({ parts }) => parts.some(({ kind }) => kind === "attention"));
  const mixes = count(({ parts }) => parts.some(({ kind }) => kind === "mixer"));
  const heads = Math.max(0, ...templates.map(({ block }) => block.heads ?? 0));
  const size = inAll("attention", "mixer");
  const experts = Math.max(0, ...templates.flatMap(({ block }) => block.sites.map(countExperts)));
  const width = Math.max(0, ...templates.map(({ block }) => block.d_mlp ?? 0));
  const inMlp = inAll("mlp", "router", "experts", "shared_experts");
  return {
    name: nameWithSize(anatomy),
    stream: titleOf(
      "stream",
      i18next.t("shape.titles.stream", { width: formatCount(anatomy.dimensions.d_model) }),
    ),
    attention: titleOf(
      "attention",
      attends > 0 && mixes > 0
        ? i18next.t("shape.titles.mixed", { attends, mixes, size })
        : attends > 0
          ? i18next.t("shape.titles.attention", { heads, size })
          : i18next.t("shape.titles.mixer", { size }),
    ),
    mlp: titleOf(
      "mlp",
      experts > 0
        ? i18next.t("shape.titles.experts", { experts, size: inMlp })
        : i18next.t("shape.titles.mlp", { width: formatCount(width), size: inMlp }),
    ),
  };
}

function titleOf(part: "stream" | "attention" | "mlp", full: string): PartTitle {
  return { full, short: i18next.t(`shape.titles.short.${part}`) };
}

function countExperts({ axes, shape }: ModelShape["templates"][number]["block"]["sites"][number]): number {
  return axes.at(-1) === "expert" ? (shape.at(-1) ?? 0) : 0;
}
