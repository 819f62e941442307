import type { Anatomy } from "../protocol/schema.generated";
import { pointOn } from "./Frame";
import type { Label } from "./Layout";
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
  const span = Math.hypot(...plate.right);
  const base = { at: pointAt(plate, 0, 0), align: "left" as const, name: plate.name };
  if (plate.refused) {
    return [
      { ...base, text: `${plate.name}: ${plate.refused}`, priority: 20, span, rise: 0, role: "reason" },
    ];
  }
  const rise =
    Math.hypot(...plate.down) / (plate.block ? LATER_BLOCKS : 1) / (plate.station === "shelf" ? SLANTED : 1);
  const isWeight = plate.kind === "weight";
  const text = isWeight ? shortName(plate.name) : plate.name;
  return [
    { ...base, text, priority: PRIORITY[plate.station], span, rise, role: isWeight ? "weight" : "site" },
  ];
}

/** Heads are many: their parts are named once they are large, the patterns with the number of their head. */
function headLabels(plate: Plate): Label[] {
  const [width, height] = [Math.hypot(...plate.right), Math.hypot(...plate.down)];
  const isStrip = Math.min(width, height) < Math.max(width, height) * STRIP_SHARE;
  const base = { at: pointAt(plate, 0, 0), align: "left" as const, name: plate.lead > 0 ? null : plate.name };
  if (plate.refused) {
    return plate.lead > 0
      ? []
      : [
          {
            ...base,
            text: `${plate.name}: ${plate.refused}`,
            priority: 20,
            span: width,
            rise: 0,
            role: "reason",
          },
        ];
  }
  // A strip carries its short name beside it; what counts is how long it is.
  if (isStrip) {
    const rise = Math.max(width, height) / HEAD_NEAR;
    return [{ ...base, text: plate.name, priority: PRIORITY.head + 4, span: 0, rise, role: "site" }];
  }
  const text = `${plate.name} · head ${plate.lead}`;
  return [{ ...base, text, priority: PRIORITY.head, span: width, rise: height / HEAD_NEAR, role: "site" }];
}

/** The last words of a parameter's name: where it lies says the rest. */
function shortName(name: string): string {
  return name.split(".").slice(-2).join(".");
}

export function blockLabel(index: number, place: Place): Label {
  const { attention } = wingFrames(place);
  return {
    text: `block ${index}`,
    at: [attention.corner[0] - 6, place.top - place.metrics.floor / 2, attention.corner[2]],
    align: "right",
    // Where not all can stand, every fourth does.
    priority: index % 4 === 0 ? 10 : 11 + (index % 2),
    span: 0,
    rise: place.metrics.floor,
    role: "block",
    name: null,
  };
}

/** What the three parts are, said once above the first block. */
export function titlesOf(anatomy: Anatomy, place: Place): Label[] {
  const first = anatomy.blocks[0];
  const { attention, mlp } = wingFrames(place);
  const width = place.metrics.attentionWidth;
  const titles: [string, Label["at"], Label["align"]][] = [
    [
      `residual stream · ${anatomy.dimensions.d_model} wide`,
      [spineLeft(place) - 12, place.top + place.metrics.floor * 0.18, 0],
      "right",
    ],
  ];
  if (first?.heads)
    titles.push([`attention · ${first.heads} heads`, pointOn(attention, width * 0.02, -8), "left"]);
  if (first?.d_mlp) titles.push([`MLP · ${first.d_mlp} wide`, pointOn(mlp, 2, -8), "left"]);
  return titles.map(([text, at, align]) => ({
    text,
    at,
    align,
    priority: 15,
    span: 0,
    rise: place.metrics.floor,
    role: "title",
    name: null,
  }));
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
