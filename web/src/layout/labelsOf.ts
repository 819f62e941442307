import type { Anatomy } from "../protocol/schema.generated";
import { expertsOf } from "./expertsOf";
import { type Frame, pointOn } from "./Frame";
import type { Label } from "./Layout";
import type { LayoutTexts, Title } from "./LayoutTexts";
import { EXPERTS_SHOWN } from "./layoutShelf";
import { type Place, spineLeft, wingFrames } from "./Place";
import { type Plate, pointAt, type Station } from "./Plate";

/** How much nearer one must come before later blocks name their sites: from afar the first block's names stand for all. */
const LATER_BLOCKS = 1.4;
/** A shelf is seen at a slant. */
const SLANTED = 2.2;
/** How much nearer one must come before the parts of a head are named. */
const HEAD_NEAR = 2.6;
/** A plate this much longer than wide is a strip. */
const STRIP_SHARE = 0.3;
/** The lines that say why the heads are opaque: from the corner of the fan, and from line to line, in world units. */
const REASON_INSET = 10;
const REASON_LEADING = 22;
/** So much of the stream is for its title: the words at the last token's column begin behind it. */
const STREAM_TITLE = 0.7;
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
export function labelsOf(plate: Plate, texts: LayoutTexts): Label[] {
  if (plate.station === "head") return labelsOfHead(plate, texts);
  if (plate.lead > 0) return [];
  const shown = plate.lead < 0 ? 1 : Math.min(EXPERTS_SHOWN, plate.leads);
  const span = Math.hypot(...plate.right) * shown;
  const base = { at: pointAt(plate, 0, 0), align: "left" as const, name: plate.name };
  if (plate.refused) {
    return [
      {
        ...base,
        text: texts.because(plate.name, plate.refused),
        priority: 20,
        span,
        rise: 0,
        role: "reason",
      },
    ];
  }
  const rise =
    Math.hypot(...plate.down) / (plate.block ? LATER_BLOCKS : 1) / (plate.station === "shelf" ? SLANTED : 1);
  const isWeight = plate.kind === "weight";
  const short = shortName(plate.name);
  const weight = shown < plate.leads ? texts.experts(short, shown, plate.leads) : short;
  const name = isWeight ? weight : plate.name;
  const role = isWeight ? "weight" : "site";
  return [{ ...base, ...inWords(plate, name, texts), priority: PRIORITY[plate.station], span, rise, role }];
}

/** Heads are many: their parts are named once they are large, the patterns with the number of their head. */
function labelsOfHead(plate: Plate, texts: LayoutTexts): Label[] {
  const [width, height] = [Math.hypot(...plate.right), Math.hypot(...plate.down)];
  const isStrip = Math.min(width, height) < Math.max(width, height) * STRIP_SHARE;
  const base = { at: pointAt(plate, 0, 0), align: "left" as const, name: plate.lead > 0 ? null : plate.name };
  // Said once for all heads by `reasonsOf`.
  if (plate.refused) return [];
  // A strip carries its short name beside it; what counts is how long it is.
  if (isStrip) {
    const rise = Math.max(width, height) / HEAD_NEAR;
    const words = width > height ? inWords(plate, plate.name, texts) : { text: plate.name };
    const span = width > height ? width : 0;
    return [{ ...base, ...words, priority: PRIORITY.head + 4, span, rise, role: "site" }];
  }
  const words = inWords(plate, texts.head(plate.name, plate.lead), texts);
  const rise = height / HEAD_NEAR;
  return [{ ...base, ...words, priority: PRIORITY.head, span: width, rise, role: "site" }];
}

/** What a plate holds, with its address beside it; the address alone where there is no room, or there are no words. */
function inWords(plate: Plate, address: string, texts: LayoutTexts): Pick<Label, "text" | "short"> {
  const words = plate.kind === "site" ? texts.site(plate.name, plate.axes, plate.lead) : null;
  return words === null ? { text: address } : { text: `${words} · ${plate.name}`, short: address };
}

/** Why parts of the heads are opaque: one line a reason, over the whole fan. */
export function reasonsOf(plates: Plate[], frame: Frame, width: number, texts: LayoutTexts): Label[] {
  const byReason = new Map<string, Set<string>>();
  for (const { name, refused } of plates) {
    if (refused) byReason.set(refused, (byReason.get(refused) ?? new Set()).add(name.split(".")[0] ?? name));
  }
  const rows = [...byReason].map(([reason, points]) => ({ reason, points: [...points] }));
  return rows.map(({ reason, points }, row) => ({
    text: texts.because(points.join(", "), reason),
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
  // What an adapter brings is called by the matrix that it changes.
  return name
    .split(".")
    .slice(name.includes(".lora_") ? -3 : -2)
    .join(".");
}

export function blockLabel(index: number, place: Place): Label {
  const { attention } = wingFrames(place);
  return {
    text: place.texts.block(index),
    short: `${index}`,
    at: [attention.corner[0] - LABEL_GAP, place.top - place.metrics.floor / 2, attention.corner[2]],
    align: "right",
    // Where not all can stand, every fourth does.
    priority: index % 4 === 0 ? 10 : 11 + (index % 2),
    span: 0,
    rise: place.metrics.floor,
    role: "block",
    name: null,
  };
}

/** What the parts are, each said once, above the first block. */
export function titlesOf({ blocks, dimensions }: Anatomy, place: Place): Label[] {
  const { attentionWidth, spineWidth, wingWidth } = place.metrics;
  const { texts } = place;
  const { attention, mlp } = wingFrames(place);
  const attends = blocks.filter((block) => block.heads);
  const mixes = blocks.filter((block) => block.kind === "linear" && !block.heads);
  const dense = blocks.filter((block) => block.d_mlp);
  const routed = blocks.filter((block) => expertsOf(block) > 0);
  const mixing = texts.mixing({
    heads: attends[0]?.heads ?? 0,
    attends: attends.length,
    mixes: mixes.length,
  });
  const mlps = texts.mlps({
    width: dense[0]?.d_mlp ?? 0,
    dense: dense.length,
    experts: expertsOf(routed[0]),
    routed: routed.length,
  });
  return [
    title(texts.stream(dimensions.d_model), [spineLeft(place), place.top, 0], spineWidth * STREAM_TITLE),
    ...(mixing ? [title(mixing, pointOn(attention, attentionWidth * 0.02, 0), attentionWidth)] : []),
    ...(mlps ? [title(mlps, pointOn(mlp, 2, 0), wingWidth)] : []),
  ];
}

function title({ full, short }: Title, at: Label["at"], span: number): Label {
  return { text: full, short, at, align: "left", priority: 3, span, rise: 0, role: "title", name: null };
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
