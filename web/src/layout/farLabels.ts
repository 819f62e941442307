import type { BoundaryWords, Word } from "../protocol/schema.generated";
import type { FarArc } from "./farArcs";
import type { FarLights } from "./farLights";
import { floorOf } from "./floorOf";
import type { Label, Layout } from "./Layout";
import { columnAt } from "./layoutTiles";
import type { Rect } from "./Rect";
import { leadsFrom, spineWords } from "./spineWords";
import { add, scale, type Vec3 } from "./Vec3";

/** What the words along the spine say besides the model's own. */
export interface FarTexts {
  leads: string;
  /** The word that would be said without a part. */
  instead: (word: string) => string;
}

/** From the column to its words, in columns of the width that the spine's tokens have; and at least so much of it. */
const BESIDE_SHARE = 0.018;
/** A word that is said at all can be read: its strength at probability 0. */
const FAINT = 0.42;
/** So many arcs name the word that they come from, and so many wings the word that would be said without them. */
const SOURCES = 5;
const INSTEADS = 7;

/** A bar longer than this has its words on the other side of the axis. */
const LONG = 0.55;
/** A head that is lit more than this says what would be said without it. */
const HEAD_MATTERS = 0.5;

const BASE = { align: "left" as const, span: 0, name: null };

/** The words along the spine at the column of `position`, and where the chosen one begins to lead. */
export function wordLabels(
  layout: Layout,
  lens: readonly BoundaryWords[],
  position: number,
  chosen: Word,
  show: (text: string) => string,
  texts: FarTexts,
): Label[] {
  const column = columnAt(layout, position);
  const x = column + layout.spine.width * BESIDE_SHARE;
  const leads = leadsFrom(lens, chosen);
  const rise = floorOf(layout);
  const labels: Label[] = [];
  for (const word of spineWords(lens, chosen)) {
    const y = layout.boundaries[word.boundary];
    if (y === undefined) continue;
    const at: Vec3 = [x, y, 0];
    if (word.isSame) continue;
    const isFinal = word.priority < 1;
    labels.push({
      ...BASE,
      text: show(word.text),
      at,
      rise,
      priority: -20 + word.priority,
      role: isFinal || (word.boundary === leads && word.isChosen) ? "answer" : "word",
      strength: Math.max(isFinal ? 1 : FAINT, FAINT + (1 - FAINT) * Math.sqrt(word.probability)),
    });
  }
  const y = leads === null ? undefined : layout.boundaries[leads];
  if (y !== undefined) {
    const at: Vec3 = [column - layout.spine.width * BESIDE_SHARE, y, 0];
    labels.push({ ...BASE, rise, text: texts.leads, at, align: "right", priority: -5, role: "mark" });
  }
  return labels;
}

/** The words that the strongest arcs come from, at their beginning. */
export function sourceLabels(
  layout: Layout,
  arcs: readonly FarArc[],
  textOf: (position: number) => string,
): Label[] {
  return arcs.slice(0, SOURCES).map(({ block, position, strength, sign }, rank) => ({
    ...BASE,
    text: textOf(position),
    rise: floorOf(layout),
    at: arcStart(layout, block, position),
    align: "right" as const,
    priority: rank < 2 ? -15 + rank : 4 + rank,
    role: "source" as const,
    strength: 0.6 + 0.4 * strength,
    hue: sign,
  }));
}

/**
 * What would be said without an MLP or a head, where that is another word: beside the MLP's bar, or on the other side
 * of its axis where the bar is too long for that; beside the head's cell.
 */
export function insteadLabels(
  layout: Layout,
  lights: FarLights,
  show: (text: string) => string,
  texts: FarTexts,
): Label[] {
  const labels: Label[] = [];
  const put = (
    rect: Rect,
    part: string,
    share: (light: number) => number,
    isLeft: (light: number) => boolean,
  ) => {
    const own = lights.byPart.get(part);
    if (own?.instead == null) return;
    labels.push({
      ...BASE,
      text: texts.instead(show(own.instead)),
      rise: floorOf(layout),
      at: add(rect.corner, add(scale(rect.right, share(own.light)), scale(rect.down, 0.5))),
      align: isLeft(own.light) ? "left" : "right",
      priority: 6 - Math.abs(own.light),
      role: "instead",
      strength: 0.95,
    });
  };
  const isLong = (light: number) => Math.abs(light) > LONG;
  for (const { index, far } of layout.blocks) {
    for (const [head, rect] of far.heads.entries()) {
      const part = `head.${index}.${head}`;
      if (Math.abs(lights.byPart.get(part)?.light ?? 0) > HEAD_MATTERS)
        put(
          rect,
          part,
          () => 1,
          () => true,
        );
    }
    if (far.mlp)
      put(
        far.mlp,
        `mlp.${index}`,
        (light) => (isLong(light) ? 0.5 : 0.5 + light * 0.5),
        (light) => light < 0 === isLong(light),
      );
  }
  return labels.sort((a, b) => a.priority - b.priority).slice(0, INSTEADS);
}

/** Where an arc leaves the column that it reads: at the boundary above its block. */
export function arcStart(layout: Layout, block: number, position: number): Vec3 {
  return [columnAt(layout, position), layout.boundaries[block] ?? 0, 0];
}
