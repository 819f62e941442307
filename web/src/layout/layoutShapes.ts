import type { FarBlock } from "./FarBlock";
import type { BlockPlace, Label, Layout } from "./Layout";
import type { LayoutTexts } from "./LayoutTexts";
import { layoutModel } from "./layoutModel";
import { type Format, freeOf, TEXT_PX } from "./Metrics";
import type { Rect } from "./Rect";
import type { PartTitle, ShapeNames, ShapeView } from "./ShapeView";
import { scale, type Vec3 } from "./Vec3";

/** Between two models, and between a model and its name, in pixels of the first view. */
const AISLE_PX = 28;
const LEADING_PX = 20;
/** The width of a letter, roughly, in units of the text size. */
const LETTER = 0.56;
/** Of a part's width, what its title may take: there is some air beside each. */
const SPAN_SHARE = 1.1;
const NOTHING_INSIDE = { plates: [], edges: [], labels: [] };

/** Where a layout stands among others, and how much larger it is drawn. */
interface Standing {
  layout: Layout;
  factor: number;
  x: number;
  y: number;
}

/** What a model without values looks like: alone, or beside others. */
export function layoutShapes({ anatomies, names }: ShapeView, texts: LayoutTexts, format: Format): Layout {
  const [alone, ...others] = anatomies.map((anatomy) => layoutModel(anatomy, 0, texts, format));
  const [name] = names;
  if (alone && name && others.length === 0) return layoutAlone(alone, name);
  return layoutBeside(
    [...(alone ? [alone] : []), ...others],
    anatomies.map(({ parameters }) => parameters),
    names.map((each) => each.name),
    format,
  );
}

/** There are no words above and below it, so it has the whole height; over each of its parts stands what it is. */
function layoutAlone(layout: Layout, names: ShapeNames): Layout {
  const { spine, tiles, bounds, labels } = layout;
  const [far] = layout.blocks.map((block) => block.far);
  const top = spine.top + tiles.size;
  const over = (
    name: PartTitle,
    { corner, right }: Pick<Rect, "corner" | "right">,
    priority: number,
  ): Label => ({
    ...title(name.full, [corner[0], top, corner[2]], priority),
    short: name.short,
    span: Math.hypot(...right) * SPAN_SHARE,
  });
  const titles: Label[] = [
    over(names.stream, { corner: [spine.left, top, 0], right: [spine.width, 0, 0] }, 1),
    ...(far?.attention ? [over(names.attention, far.attention, 0)] : []),
    ...(far?.mlp ? [over(names.mlp, far.mlp, 2)] : []),
  ];
  return {
    ...layout,
    labels: [...labels.filter(({ role }) => role !== "title"), ...titles],
    tiles: { ...tiles, corner: [tiles.corner[0], top + tiles.size * 2, 0] },
    skyline: { ...layout.skyline, height: 0 },
    bounds: {
      min: [bounds.min[0], spine.bottom - tiles.size, bounds.min[2]],
      max: [bounds.max[0], top + tiles.size * 2, bounds.max[2]],
    },
  };
}

function title(text: string, at: Vec3, priority: number): Label {
  return { text, at, align: "left", priority, span: 0, rise: 0, role: "token", name: null };
}

/**
 * Models side by side, standing on one ground and drawn at one scale: equal areas hold equally many parameters, since all
 * have the same proportions. They are drawn from afar alone.
 */
function layoutBeside(
  layouts: readonly Layout[],
  parameters: readonly number[],
  names: readonly string[],
  format: Format,
): Layout {
  const sizes = parameters.map((each) => Math.sqrt(Math.max(1, each)));
  const largest = Math.max(...sizes);
  const high = Math.max(...layouts.map(heightOf));
  const factors = layouts.map((layout, at) => (((sizes[at] ?? 1) / largest) * high) / heightOf(layout));
  const widths = layouts.map((layout, at) => widthOf(layout) * (factors[at] ?? 1));
  const free = freeOf(format);
  const wide = widths.reduce((sum, width) => sum + width, 0);
  // What one pixel of the first view is in the world, about.
  const px = 1 / Math.min((free.width - AISLE_PX * layouts.length) / wide, (free.height * 0.8) / high);
  const slots = widths.map((width, at) => Math.max(width, (names[at]?.length ?? 0) * LETTER * TEXT_PX * px));
  const total = slots.reduce((sum, slot) => sum + slot, 0) + AISLE_PX * px * (slots.length - 1);
  let left = -total / 2;
  const placed = layouts.map((layout, at) => {
    const slot = slots[at] ?? 0;
    const factor = factors[at] ?? 1;
    const { min, max } = boxOf(layout);
    const x = left + slot / 2 - ((min + max) / 2) * factor;
    left += slot + AISLE_PX * px;
    return moved({ layout, factor, x, y: -layout.spine.bottom * factor });
  });
  const labels = placed.map((layout, at): Label => {
    const { min, max } = boxOf(layout);
    return { ...title(names[at] ?? "", [(min + max) / 2, -LEADING_PX * px, 0], at), align: "center" };
  });
  const [first, ...beside] = placed as [Layout, ...Layout[]];
  const text = TEXT_PX * px;
  return {
    ...first,
    beside,
    labels,
    tiles: { corner: [-total / 2, high, 0], width: total, size: text },
    skyline: { corner: [-total / 2, 0, 0], width: total, height: 0, size: text, bars: 5 },
    bounds: { min: [-total / 2, -2 * LEADING_PX * px, -total * 0.1], max: [total / 2, high, 0] },
  };
}

const heightOf = ({ spine }: Layout) => spine.top - spine.bottom;

function boxOf(layout: Layout): { min: number; max: number } {
  const bounds = layout.blocks.map((block) => block.bounds);
  const { left, width } = layout.spine;
  return {
    min: Math.min(left, ...bounds.map(({ min }) => min[0])),
    max: Math.max(left + width, ...bounds.map(({ max }) => max[0])),
  };
}

function widthOf(layout: Layout): number {
  const { min, max } = boxOf(layout);
  return max - min;
}

/** A layout at another place, larger or smaller. */
function moved({ layout, factor, x, y }: Standing): Layout {
  const point = (at: Vec3): Vec3 => [at[0] * factor + x, at[1] * factor + y, at[2] * factor];
  const rect = ({ corner, right, down }: Rect): Rect => ({
    corner: point(corner),
    right: scale(right, factor),
    down: scale(down, factor),
  });
  const far = (block: FarBlock): FarBlock => ({
    ...block,
    attention: block.attention && rect(block.attention),
    whole: block.whole && rect(block.whole),
    heads: block.heads.map(rect),
    mlp: block.mlp && rect(block.mlp),
  });
  const { spine } = layout;
  return {
    ...layout,
    plates: [],
    labels: [],
    boundaries: layout.boundaries.map((each) => each * factor + y),
    spine: {
      left: spine.left * factor + x,
      top: spine.top * factor + y,
      bottom: spine.bottom * factor + y,
      width: spine.width * factor,
    },
    blocks: layout.blocks.map(
      (block): BlockPlace => ({
        ...block,
        bounds: { min: point(block.bounds.min), max: point(block.bounds.max) },
        far: far(block.far),
        // A block is named where it is large enough to carry the name.
        label: { ...block.label, at: point(block.label.at), rise: block.label.rise * factor, role: "title" },
        detail: () => NOTHING_INSIDE,
      }),
    ),
  };
}
