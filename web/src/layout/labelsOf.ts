import type { Anatomy, Block } from "../protocol/schema.generated";
import { type Frame, pointOn } from "./Frame";
import type { Label } from "./Layout";
import { EXPERTS_SHOWN } from "./layoutShelf";
import { type Place, spineLeft, wingFrames } from "./Place";
import { type Plate, pointAt, type Station } from "./Plate";

/** How much nearer one must come before later blocks name their sites: from afar the first block's names stand for all. */
const LATER_BLOCKS = 2.2;
/** A shelf is seen at a slant. */
const SLANTED = 2.2;
/** How much nearer one must come before the parts of a head are named. */
const HEAD_NEAR = 3.2;
/** A plate this much longer than wide is a strip. */
const STRIP_SHARE = 0.3;
/** The lines that say why the heads are opaque: from the corner of the fan, and from line to line, in world units. */
const REASON_INSET = 10;
const REASON_LEADING = 22;
/** Between a block's name and its heads, in world units. */
const LABEL_GAP = 6;
const PRIORITY: Record<Station, number> = {
  stream: 30,
  end: 30,
  wing: 34,
  lens: 36,
  output: 36,
  head: 50,
  shelf: 70,
};

/** A plate's name, to appear when it is large enough to carry it; a refused plate says why. */
export function labelsOf(plate: Plate): Label[] {
  if (plate.station === "head") return headLabels(plate);
  if (plate.lead > 0) return [];
  const shown = plate.lead < 0 ? 1 : Math.min(EXPERTS_SHOWN, plate.leads);
  const span = Math.hypot(...plate.right) * shown;
  const base = { at: pointAt(plate, 0, 0), align: "left" as const, name: plate.name };
  if (plate.refused) {
    return [
      { ...base, text: `${plate.name}: ${plate.refused}`, priority: 20, span, rise: 0, role: "reason" },
    ];
  }
  const rise =
    Math.hypot(...plate.down) / (plate.block ? LATER_BLOCKS : 1) / (plate.station === "shelf" ? SLANTED : 1);
  const isWeight = plate.kind === "weight";
  const more = isWeight && shown < plate.leads ? ` · ${shown} of ${plate.leads}` : "";
  const text = isWeight ? shortName(plate.name) + more : plate.name;
  return [
    { ...base, text, priority: PRIORITY[plate.station], span, rise, role: isWeight ? "weight" : "site" },
  ];
}

/** Heads are many: their parts are named once they are large, the patterns with the number of their head. */
function headLabels(plate: Plate): Label[] {
  const [width, height] = [Math.hypot(...plate.right), Math.hypot(...plate.down)];
  const isStrip = Math.min(width, height) < Math.max(width, height) * STRIP_SHARE;
  const base = { at: pointAt(plate, 0, 0), align: "left" as const, name: plate.lead > 0 ? null : plate.name };
  // Said once for all heads by `reasonsOf`.
  if (plate.refused) return [];
  // A strip carries its short name beside it; what counts is how long it is.
  if (isStrip) {
    const rise = Math.max(width, height) / HEAD_NEAR;
    return [{ ...base, text: plate.name, priority: PRIORITY.head + 4, span: 0, rise, role: "site" }];
  }
  const text = `${plate.name} · head ${plate.lead}`;
  return [{ ...base, text, priority: PRIORITY.head, span: width, rise: height / HEAD_NEAR, role: "site" }];
}

/** Why parts of the heads are opaque: one line a reason, over the whole fan. */
export function reasonsOf(plates: Plate[], frame: Frame, width: number): Label[] {
  const byReason = new Map<string, Set<string>>();
  for (const { name, refused } of plates) {
    if (refused) byReason.set(refused, (byReason.get(refused) ?? new Set()).add(name.split(".")[0] ?? name));
  }
  const rows = [...byReason].map(([reason, points]) => ({ reason, points: [...points] }));
  return rows.map(({ reason, points }, row) => ({
    text: `${points.join(", ")}: ${reason}`,
    at: pointOn(frame, REASON_INSET, REASON_INSET * 2 + row * REASON_LEADING),
    align: "left",
    priority: 20 + row,
    span: width - 2 * REASON_INSET,
    rise: 0,
    role: "reason",
    name: null,
  }));
}

/** The last words of a parameter's name: where it lies says the rest. */
function shortName(name: string): string {
  return name.split(".").slice(-2).join(".");
}

/** `inAisle`: another tower stands at its left. */
export function blockLabel(index: number, place: Place, inAisle: boolean): Label {
  const { attention } = wingFrames(place);
  return {
    text: `block ${index}`,
    short: `${index}`,
    at: [attention.corner[0] - LABEL_GAP, place.top - place.metrics.floor / 2, attention.corner[2]],
    align: "right",
    // Where not all can stand, every fourth does.
    priority: index % 4 === 0 ? 10 : 11 + (index % 2),
    // Words longer than the aisle would lie on the tower at its left.
    span: inAisle ? place.metrics.aisle - LABEL_GAP : 0,
    rise: place.metrics.floor,
    role: "block",
    name: null,
  };
}

/** What the parts are, each said once: above the first block that has it. */
export function titlesOf(anatomy: Anatomy, placeOf: (block: number) => Place): Label[] {
  const { blocks, dimensions } = anatomy;
  const top = placeOf(0);
  const beside: Label["at"] = [spineLeft(top) - 12, top.top + top.metrics.floor * 0.18, 0];
  const stream = title(`residual stream · ${dimensions.d_model} wide`, top, beside);
  const titles: Label[] = [{ ...stream, align: "right" }];
  const first = (text: string, block: Block | undefined, side: "attention" | "mlp") => {
    if (!block) return;
    const place = placeOf(block.index);
    const inset = side === "attention" ? place.metrics.attentionWidth * 0.02 : 2;
    titles.push(title(text, place, pointOn(wingFrames(place)[side], inset, -8)));
  };
  const attends = blocks.find((block) => block.heads);
  first(`attention · ${attends?.heads} heads`, attends, "attention");
  first(
    "mixer without attention",
    blocks.find((block) => block.kind === "linear" && !block.heads),
    "attention",
  );
  const dense = blocks.find((block) => block.d_mlp);
  first(`MLP · ${dense?.d_mlp} wide`, dense, "mlp");
  const routed = blocks.find((block) => expertsOf(block) > 0);
  first(`${expertsOf(routed)} experts`, routed, "mlp");
  return titles;
}

/** How many experts a block's router chooses from; 0 where there is no router. */
function expertsOf(block: Block | undefined): number {
  const site = block?.sites.find(({ axes }) => axes.at(-1) === "expert");
  return site?.shape.at(-1) ?? 0;
}

function title(text: string, { metrics }: Place, at: Label["at"]): Label {
  const rise = metrics.floor;
  return { text, at, align: "left", priority: 15, span: 0, rise, role: "title", name: null };
}

/** Why nothing can be drawn of a model that is served all the same. */
export function refusalOf(anatomy: Anatomy, place: Place): Label[] {
  if (!anatomy.refused) return [];
  return [
    {
      text: anatomy.refused,
      at: [place.x, place.top - place.metrics.floor / 2, 0],
      align: "center",
      priority: 0,
      span: place.metrics.tilesWidth,
      rise: 0,
      role: "reason",
      name: null,
    },
  ];
}
