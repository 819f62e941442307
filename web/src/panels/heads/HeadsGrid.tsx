import { useTranslation } from "react-i18next";
import { useApp } from "../AppContext";
import { headAtPoint, layOutGrid } from "./gridGeometry";
import type { HeadViewProps } from "./HeadViewProps";
import { headEvents } from "./headEvents";
import { cssOf, INKS, inkOf, MONO, SANS, textOn } from "./headInk";
import { BADGE_SHARE, type ScoreName } from "./headScores";
import { useCanvas } from "./useCanvas";

/** Scores are written into cells with this much room. */
const WRITTEN_WIDTH_PX = 28;
const WRITTEN_HEIGHT_PX = 10;

/** A cell for each head: blocks from the first at the top, as they stand in the picture. */
export function HeadsGrid({ table, score, limit, shown, chosen, onHover, onChoose }: HeadViewProps) {
  const { t } = useTranslation();
  const theme = useApp((state) => state.theme);
  const heightOf = (width: number) => layOutGrid(table, width).height;
  const { ref, width } = useCanvas(heightOf, (context, width) => {
    const geometry = layOutGrid(table, width);
    const { left, top, cellWidth, cellHeight, gap } = geometry;
    const ink = INKS[theme];
    context.textBaseline = "middle";
    context.font = `11px ${SANS}`;
    context.fillStyle = ink.quiet;
    context.fillText(t("heads.axes"), 0, top / 2);
    context.font = `10px ${MONO}`;
    context.textAlign = "right";
    for (let block = 0; block < table.blocks; block += 1) {
      const y = top + block * cellHeight;
      context.fillStyle = ink.quiet;
      if (block % geometry.labelEvery === 0) context.fillText(String(block), left - 6, y + cellHeight / 2);
      for (let head = 0; head < table.columns; head += 1) {
        const row = table.at(block, head);
        if (!row) continue;
        const value = row.values[score];
        const x = left + head * cellWidth;
        const colour = inkOf(value, score, limit, theme);
        context.fillStyle = colour ? cssOf(colour) : ink.gap;
        context.fillRect(x, y, cellWidth - gap, cellHeight - gap);
        if (colour && value !== null && isWritten(score, value, limit, cellWidth, cellHeight)) {
          context.fillStyle = textOn(colour);
          context.textAlign = "center";
          context.font = `${Math.min(10, cellHeight - 1)}px ${MONO}`;
          context.fillText(formatShort(value), x + (cellWidth - gap) / 2, y + (cellHeight - gap) / 2 + 0.5);
          context.textAlign = "right";
          context.font = `10px ${MONO}`;
        }
      }
      if (table.refused.has(block)) {
        context.fillStyle = ink.line;
        context.fillRect(left, y + cellHeight / 2 - 0.5, table.columns * cellWidth - gap, 1);
      }
    }
    context.textAlign = "center";
    context.fillStyle = ink.quiet;
    for (let head = 0; head < table.columns; head += geometry.headLabelEvery)
      context.fillText(String(head), left + head * cellWidth + (cellWidth - gap) / 2, top / 2);
    for (const [place, line] of [
      [chosen, 1],
      [shown, 2],
    ] as const) {
      if (!place) continue;
      context.strokeStyle = ink.strong;
      context.lineWidth = line;
      const x = left + place.head * cellWidth;
      const y = top + place.block * cellHeight;
      context.strokeRect(x - 0.5, y - 0.5, cellWidth - gap + 1, cellHeight - gap + 1);
    }
  });
  const events = headEvents((point) => headAtPoint(table, width, point), { onHover, onChoose });
  return <canvas ref={ref} className="heads-canvas" {...events} />;
}

/** Only what stands out is written: a number in every cell would be noise. */
function isWritten(score: ScoreName, value: number, limit: number, width: number, height: number): boolean {
  const least = score === "entropy" ? Infinity : score === "worth" ? limit / 3 : BADGE_SHARE;
  return Math.abs(value) >= least && width >= WRITTEN_WIDTH_PX && height >= WRITTEN_HEIGHT_PX;
}

function formatShort(value: number): string {
  const text =
    Math.abs(value) >= 10
      ? Math.abs(value).toFixed(0)
      : Math.abs(value).toFixed(Math.abs(value) >= 1 ? 1 : 2);
  return `${value < 0 ? "−" : ""}${text}`;
}
