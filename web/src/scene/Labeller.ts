import type { Color } from "three";
import { eyeOf, FIELD_OF_VIEW, project, type View } from "../layout/Camera";
import type { Cell } from "../layout/Cell";
import type { Label } from "../layout/Layout";
import { cellOn, normalOfPlate, type Plate, pointAt } from "../layout/Plate";
import { type Box, type LabelCandidate, placeLabels } from "../layout/placeLabels";
import { tone } from "../layout/tone";
import { dot, length, normalize, scale, subtract } from "../layout/Vec3";
import { visibleCells } from "../layout/visibleCells";
import type { GlyphAtlas } from "./GlyphAtlas";
import type { Insets } from "./Insets";
import type { Palette } from "./palette";
import type { Face, TextLine } from "./TextLine";

const SIZE_PX: Record<Label["role"], number> = {
  title: 12.5,
  token: 12.5,
  block: 13,
  site: 11.5,
  reason: 11.5,
  head: 10.5,
  weight: 10.5,
  word: 12.5,
  answer: 19,
  mark: 11.5,
  source: 12,
  instead: 11.5,
  reads: 11,
};
/** The height on the screen, in pixels, from which a drawable gets its name. */
const RISE_PX: Record<Label["role"], number> = {
  title: 30,
  token: 0,
  block: 0,
  site: 26,
  reason: 0,
  head: 34,
  weight: 22,
  word: 0,
  answer: 0,
  mark: 0,
  source: 0,
  instead: 0,
  reads: 30,
};
const TITLE_LIFT_PX = 5;
/** From a column to the words beside it, and from the end of an arc or a bar, in pixels. */
const BESIDE_PX = 7;
const BESIDE: readonly Label["role"][] = ["block", "word", "answer", "mark", "source", "instead"];
const QUIET: readonly Label["role"][] = ["block", "weight", "head", "title", "mark", "instead"];
/** A cell narrower than this says the number of its head alone. */
const READS_PX = 44;
const LABELS_MAX = 240;
/** Numbers stand in cells from this height on. */
const NUMBER_CELL_PX = 15;
/** A cell whose value is above this share of its scale is so bright that text on it has to be dark. */
const BRIGHT_SHARE = 0.55;
const NUMBER_MIN_PX = 7.5;
const NUMBERS_MAX = 260;

/** What numbers are read from. */
export interface Values {
  /** A cell's own value; null where that is not here, if only a pool that it is in is. */
  valueAt(cell: Cell): number | null;
  rangeOf(name: string): { limit: number } | null;
  readonly isLogarithmic: boolean;
}

/** Words that grow with their block, from a height of it in pixels on, by this for each further pixel. */
const GROWS: Partial<Record<Label["role"], { most: number }>> = {
  word: { most: 18 },
  answer: { most: 26 },
  source: { most: 16 },
  instead: { most: 14 },
};
const GROWS_FROM_PX = 16;
const GROWS_BY = 0.09;
/** Where blocks are lower, words are as large as all of them can stand, but not smaller than can be read. */
const WORD_SHARE = 0.82;
const WORD_MIN_PX = 10.5;
/** In a narrower window all names are a little smaller. */
const NARROW_PX = 760;
const NARROW_SHARE = 0.87;

/** The labels that can be read from here without overlapping. */
export function writeLabels(
  labels: readonly Label[],
  view: View,
  atlas: Pick<GlyphAtlas, "measure" | "split">,
  palette: Palette,
  emphasized: ReadonlySet<string>,
  covered: Pick<Insets, "left" | "right"> = { left: 0, right: 0 },
): TextLine[] {
  const focal = view.height / 2 / Math.tan(FIELD_OF_VIEW / 2);
  // Of blocks' names the numbers are left where a panel would cut a word.
  const blocksAreCut = labels.some((label) => {
    const at = label.role === "block" ? project(view, label.at) : null;
    if (!at || at.x < covered.left || at.y < 0 || at.y > view.height) return false;
    const share = view.width < NARROW_PX ? NARROW_SHARE : 1;
    return at.x - BESIDE_PX - atlas.measure(label.text, "sans") * SIZE_PX.block * share < covered.left;
  });
  const candidates: (LabelCandidate & { line: TextLine })[] = [];
  for (const label of labels) {
    const at = project(view, label.at);
    if (!at || at.x < -80 || at.y < -20 || at.x > view.width + 80 || at.y > view.height + 20) continue;
    const risePx = (label.rise * focal) / at.depth;
    const sizePx = sizeOf(label.role, risePx) * (view.width < NARROW_PX ? NARROW_SHARE : 1);
    const face = label.role === "weight" || label.role === "site" ? "mono" : "sans";
    const room = (label.span * focal) / at.depth;
    const mayShorten = label.role === "token" || label.role === "reason" || label.role === "reads";
    const fits = (text: string) => label.span === 0 || atlas.measure(text, face) * sizePx <= room;
    const isWide = label.role === "reads" ? room > READS_PX : fits(label.text);
    const isShort = label.short !== undefined && (!isWide || (label.role === "block" && blocksAreCut));
    const full = isShort ? (label.short as string) : label.text;
    const text = mayShorten ? shorten(full, room / sizePx, face, atlas) : full;
    const width = atlas.measure(text, face) * sizePx;
    const wanted = label.name !== null && emphasized.has(label.name);
    if (!wanted && (!fits(text) || (label.rise > 0 && risePx < RISE_PX[label.role]))) continue;
    const isOnPlate = label.role === "site" || label.role === "weight" || label.role === "reason";
    const shift: [number, number] = isOnPlate
      ? [2, 4]
      : label.role === "head"
        ? [-3, -sizePx]
        : isOver(label)
          ? [0, TITLE_LIFT_PX]
          : label.role === "reads"
            ? [label.align === "right" ? -5 : 4, -sizePx - 1]
            : [beside(label), -sizePx * 0.34];
    const left = label.align === "left" ? 0 : label.align === "center" ? -width / 2 : -width;
    const box: Box = {
      x: at.x + left + shift[0],
      y: at.y - shift[1] - sizePx * 0.8,
      width,
      height: sizePx * (label.role === "block" ? 1.5 : 1),
    };
    // What a panel or the window's edge would cut off is not said.
    if (label.role === "instead" && (box.x < covered.left || box.x + width > view.width - covered.right))
      continue;
    const quiet = QUIET.includes(label.role);
    candidates.push({
      box,
      priority: wanted ? 0 : label.priority,
      line: {
        text,
        face,
        at: label.at,
        color: label.hue ? hueOf(label.hue, palette) : quiet && !wanted ? palette.quietText : palette.text,
        alpha: label.strength ?? 1,
        align: label.align,
        sizePx,
        shift,
        halo: true,
      },
    });
  }
  return placeLabels(candidates, LABELS_MAX).map((index) => (candidates[index] as { line: TextLine }).line);
}

/** Where blocks are few, the words along the spine are larger: by the height of a block on the screen. */
function sizeOf(role: Label["role"], risePx: number): number {
  const grows = GROWS[role];
  if (role === "word" && risePx < GROWS_FROM_PX)
    return Math.min(SIZE_PX.word, Math.max(WORD_MIN_PX, risePx * WORD_SHARE));
  return grows
    ? Math.min(grows.most, SIZE_PX[role] + Math.max(0, risePx - GROWS_FROM_PX) * GROWS_BY)
    : SIZE_PX[role];
}

/** A title stands over what it names, by as many pixels from any distance. */
function isOver({ role, align }: Label): boolean {
  return role === "title" && align === "left";
}

function beside({ role, align }: Label): number {
  if (!BESIDE.includes(role)) return 0;
  return align === "right" ? -BESIDE_PX : BESIDE_PX;
}

/** Of a value's hue, the tone that can be read as text. */
function hueOf(hue: number, { positive, negative }: Palette): Color {
  return (hue > 0 ? positive : negative)[1];
}

/** The text, cut off with an ellipsis where it is wider than so many ems. */
function shorten(
  text: string,
  ems: number,
  face: Face,
  atlas: Pick<GlyphAtlas, "measure" | "split">,
): string {
  const parts = atlas.split(text);
  const full = atlas.measure(text, face);
  if (full <= ems || parts.length < 3) return text;
  const cut = (kept: number) => `${parts.slice(0, kept).join("")}…`;
  let kept = Math.floor((parts.length * ems) / full);
  while (kept > 0 && atlas.measure(cut(kept), face) > ems) kept--;
  return kept < 1 ? text : cut(kept);
}

/** The numbers of the cells in view, where cells are large enough to carry them. */
export function writeNumbers(
  plates: readonly Plate[],
  view: View,
  values: Values,
  palette: Palette,
): TextLine[] {
  const lines: TextLine[] = [];
  const focal = view.height / 2 / Math.tan(FIELD_OF_VIEW / 2);
  const eye = eyeOf(view.pose);
  for (const plate of plates) {
    if (lines.length >= NUMBERS_MAX) break;
    const cellWidth = length(plate.right) / plate.columns.count;
    const cellHeight = length(plate.down) / plate.rows.count;
    const middle = project(view, pointAt(plate, 0.5, 0.5));
    // The middle of a plate that the camera is close to can be far away, so its nearest possible distance counts.
    const nearest = Math.max(
      view.pose.distance * 0.6,
      (middle?.depth ?? view.pose.distance) - length(plate.right),
    );
    if ((cellHeight * focal) / nearest < NUMBER_CELL_PX) continue;
    if (dot(subtract(eye, plate.corner), normalOfPlate(plate)) <= 0) continue;
    const right = normalize(plate.right);
    const up = scale(normalize(plate.down), -1);
    const range = visibleCells(plate, view);
    for (let row = range.top; row <= range.bottom; row++) {
      for (let column = range.left; column <= range.right; column++) {
        if (lines.length >= NUMBERS_MAX) return lines;
        const [u, v] = [(column + 0.5) / plate.columns.count, (row + 0.5) / plate.rows.count];
        const at = project(view, pointAt(plate, u, v));
        if (!at || at.x < 0 || at.y < 0 || at.x > view.width || at.y > view.height) continue;
        if ((cellHeight * focal) / at.depth < NUMBER_CELL_PX) continue;
        const value = values.valueAt(cellOn(plate, u, v));
        if (value === null) continue;
        const limit = values.rangeOf(plate.name)?.limit ?? 0;
        const isBright =
          plate.paint !== "weight" &&
          limit > 0 &&
          tone(Math.abs(value) / limit, values.isLogarithmic) > BRIGHT_SHARE;
        const em = Math.min(cellHeight * 0.52, cellWidth / 4.6);
        if ((em * focal) / at.depth < NUMBER_MIN_PX) continue;
        lines.push({
          text: formatCell(value),
          face: "mono",
          at: pointAt(plate, u, v + (0.34 * em) / length(plate.down)),
          // Text on a bright cell has the colour of the backdrop, since light on light cannot be read.
          color: isBright ? palette.backdrop : palette.text,
          alpha: 1,
          align: "center",
          halo: !isBright,
          right: scale(right, em),
          up: scale(up, em),
        });
      }
    }
  }
  return lines;
}

/** Three significant digits and a real minus sign. */
export function formatCell(value: number): string {
  const magnitude = Math.abs(value);
  const digits =
    magnitude >= 1000 || (magnitude < 0.001 && magnitude > 0)
      ? magnitude.toExponential(1)
      : magnitude.toPrecision(3);
  return `${value < 0 ? "−" : ""}${digits.replace("e+", "e").replace("e-", "e−")}`;
}
