import { eyeOf, FIELD_OF_VIEW, project, rayAt, type View } from "../layout/Camera";
import type { Cell } from "../layout/Cell";
import type { Label } from "../layout/Layout";
import { cellOn, normalOfPlate, type Plate, pointAt } from "../layout/Plate";
import { fractionsAt } from "../layout/pickCell";
import { type Box, type LabelCandidate, placeLabels } from "../layout/placeLabels";
import { dot, length, normalize, scale, subtract } from "../layout/Vec3";
import type { GlyphAtlas } from "./GlyphAtlas";
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
};
const LABELS_MAX = 140;
/** Numbers stand in cells from this height on. */
const NUMBER_CELL_PX = 15;
/** A cell whose value is above this share of its scale is so bright that text on it has to be dark. */
const BRIGHT_SHARE = 0.55;
const NUMBER_MIN_PX = 7.5;
const NUMBERS_MAX = 260;

/** What numbers are read from. */
export interface Values {
  valueAt(cell: Cell): number | null;
  get(name: string): { limit: number } | undefined;
}

/** The labels that can be read from here without overlapping. */
export function writeLabels(
  labels: readonly Label[],
  view: View,
  atlas: GlyphAtlas,
  palette: Palette,
  emphasized: ReadonlySet<string>,
): TextLine[] {
  const focal = view.height / 2 / Math.tan(FIELD_OF_VIEW / 2);
  const candidates: (LabelCandidate & { line: TextLine })[] = [];
  for (const label of labels) {
    const at = project(view, label.at);
    if (!at || at.x < -80 || at.y < -20 || at.x > view.width + 80 || at.y > view.height + 20) continue;
    const sizePx = SIZE_PX[label.role];
    const face = label.role === "weight" || label.role === "site" ? "mono" : "sans";
    const room = (label.span * focal) / at.depth;
    const mayShorten = label.role === "token" || label.role === "reason";
    const fits = (text: string) => label.span === 0 || atlas.measure(text, face) * sizePx <= room;
    const full = label.short === undefined || fits(label.text) ? label.text : label.short;
    const text = mayShorten ? shorten(full, room / sizePx, face, atlas) : full;
    const width = atlas.measure(text, face) * sizePx;
    const wanted = label.name !== null && emphasized.has(label.name);
    const risePx = (label.rise * focal) / at.depth;
    if (!wanted && (!fits(text) || (label.rise > 0 && risePx < RISE_PX[label.role]))) continue;
    const isOnPlate = label.role === "site" || label.role === "weight" || label.role === "reason";
    const shift: [number, number] = isOnPlate
      ? [2, 4]
      : label.role === "head"
        ? [-3, -sizePx]
        : [0, -sizePx * 0.34];
    const left = label.align === "left" ? 0 : label.align === "center" ? -width / 2 : -width;
    const box: Box = {
      x: at.x + left + shift[0],
      y: at.y - shift[1] - sizePx * 0.8,
      width,
      height: sizePx * (label.role === "block" ? 1.5 : 1),
    };
    const quiet = label.role === "weight" || label.role === "head" || label.role === "title";
    candidates.push({
      box,
      priority: wanted ? 0 : label.priority,
      line: {
        text,
        face,
        at: label.at,
        color: quiet && !wanted ? palette.quietText : palette.text,
        alpha: 1,
        align: label.align,
        sizePx,
        shift,
        halo: true,
      },
    });
  }
  return placeLabels(candidates, LABELS_MAX).map((index) => (candidates[index] as { line: TextLine }).line);
}

/** The text, cut off with an ellipsis where it is wider than so many ems. */
function shorten(text: string, ems: number, face: Face, atlas: GlyphAtlas): string {
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
        const isBright =
          plate.paint !== "weight" && Math.abs(value) > BRIGHT_SHARE * (values.get(plate.name)?.limit ?? 0);
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

/** The columns and rows that can be on the screen: where rays through its corners and edges meet the plate. */
function visibleCells(
  plate: Plate,
  view: View,
): { left: number; right: number; top: number; bottom: number } {
  const seen = { left: plate.columns.count, right: -1, top: plate.rows.count, bottom: -1 };
  for (let i = 0; i <= 4; i++) {
    for (let j = 0; j <= 4; j++) {
      const at = fractionsAt(rayAt(view, (i / 4) * view.width, (j / 4) * view.height), plate);
      if (!at) continue;
      seen.left = Math.min(seen.left, Math.floor(at.u * plate.columns.count) - 1);
      seen.right = Math.max(seen.right, Math.ceil(at.u * plate.columns.count));
      seen.top = Math.min(seen.top, Math.floor(at.v * plate.rows.count) - 1);
      seen.bottom = Math.max(seen.bottom, Math.ceil(at.v * plate.rows.count));
    }
  }
  return {
    left: Math.max(0, seen.left),
    right: Math.min(plate.columns.count - 1, seen.right),
    top: Math.max(0, seen.top),
    bottom: Math.min(plate.rows.count - 1, seen.bottom),
  };
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
