import { useState } from "react";
import { useTranslation } from "react-i18next";
import { useApp } from "../AppContext";
import { formatNumber } from "../formatNumber";
import type { HeadViewProps } from "./HeadViewProps";
import { headEvents } from "./headEvents";
import { cssOf, INKS, inkOf, MONO, SANS } from "./headInk";
import { BADGE_SHARE, type HeadRow, limitOf, SCORES, type ScoreName } from "./headScores";
import { nearestPoint, type PointAxes, pointOf } from "./pointGeometry";
import { useCanvas } from "./useCanvas";

const HEIGHT_PX = 300;
const RADIUS_PX = 3.5;

/** A point for each head, by two scores that can be chosen. */
export function HeadsPoints({ table, score, limit, shown, chosen, onHover, onChoose }: HeadViewProps) {
  const { t } = useTranslation();
  const theme = useApp((state) => state.theme);
  const [across, setAcross] = useState<ScoreName>("previous");
  const [up, setUp] = useState<ScoreName>("induction");
  const axes: PointAxes = {
    across: { score: across, limit: limitOf(table, across) },
    up: { score: up, limit: limitOf(table, up) },
  };
  const { ref, width } = useCanvas(
    () => HEIGHT_PX,
    (context, width) => {
      const ink = INKS[theme];
      const size = { width, height: HEIGHT_PX };
      const at = (x: number, y: number) => pointOf({ across: x, up: y }, axes, size);
      const [low, high] = [at(startOf(axes.across), startOf(axes.up)), at(axes.across.limit, axes.up.limit)];
      context.strokeStyle = ink.line;
      context.lineWidth = 1;
      context.strokeRect(low.x + 0.5, high.y + 0.5, high.x - low.x, low.y - high.y);
      context.setLineDash([3, 4]);
      drawThresholds(context, axes, low, high, at);
      context.setLineDash([]);
      context.fillStyle = ink.quiet;
      context.font = `10px ${MONO}`;
      context.textBaseline = "top";
      context.fillText(formatNumber(startOf(axes.across), 2), low.x, low.y + 5);
      context.textAlign = "right";
      context.fillText(formatNumber(axes.across.limit, 2), high.x, low.y + 5);
      context.fillText(formatNumber(axes.up.limit, 2), low.x - 5, high.y);
      context.textBaseline = "bottom";
      context.fillText(formatNumber(startOf(axes.up), 2), low.x - 5, low.y);
      context.font = `12px ${SANS}`;
      context.textAlign = "center";
      context.textBaseline = "top";
      context.fillText(t(`heads.scores.${across}`), (low.x + high.x) / 2, low.y + 4);
      context.save();
      context.translate(low.x - 18, (low.y + high.y) / 2);
      context.rotate(-Math.PI / 2);
      context.textBaseline = "bottom";
      context.fillText(t(`heads.scores.${up}`), 0, 8);
      context.restore();
      const drawPoint = (row: HeadRow, radius: number) => {
        const [x, y] = [row.values[across], row.values[up]];
        if (x === null || y === null) return null;
        const place = at(x, y);
        const colour = inkOf(row.values[score], score, limit, theme);
        context.beginPath();
        context.arc(place.x, place.y, radius, 0, 2 * Math.PI);
        context.fillStyle = colour ? cssOf(colour) : ink.gap;
        context.fill();
        context.strokeStyle = ink.line;
        context.stroke();
        return place;
      };
      for (const row of table.rows) drawPoint(row, RADIUS_PX);
      for (const [marked, line] of [
        [chosen, 1],
        [shown, 2],
      ] as const) {
        const row = marked && table.at(marked.block, marked.head);
        const place = row && drawPoint(row, RADIUS_PX + 1);
        if (!place) continue;
        context.beginPath();
        context.arc(place.x, place.y, RADIUS_PX + 3, 0, 2 * Math.PI);
        context.strokeStyle = ink.strong;
        context.lineWidth = line;
        context.stroke();
      }
    },
  );
  const size = { width, height: HEIGHT_PX };
  const events = headEvents((point) => nearestPoint(table.rows, axes, size, point), { onHover, onChoose });
  return (
    <>
      <div className="heads-axes">
        <AxisChoice label={t("heads.up")} score={up} onScore={setUp} />
        <AxisChoice label={t("heads.across")} score={across} onScore={setAcross} />
      </div>
      <canvas ref={ref} className="heads-canvas" {...events} />
    </>
  );
}

function startOf({ score, limit }: PointAxes["up"]): number {
  return score === "worth" ? -limit : 0;
}

/** From these lines on a head is called by the kind of the axis. */
function drawThresholds(
  context: CanvasRenderingContext2D,
  axes: PointAxes,
  low: { x: number; y: number },
  high: { x: number; y: number },
  at: (x: number, y: number) => { x: number; y: number },
): void {
  const shareOf = ({ score }: PointAxes["up"]) =>
    score === "entropy" ? null : score === "worth" ? 0 : BADGE_SHARE;
  const [across, up] = [shareOf(axes.across), shareOf(axes.up)];
  context.beginPath();
  if (across !== null) {
    context.moveTo(at(across, 0).x, low.y);
    context.lineTo(at(across, 0).x, high.y);
  }
  if (up !== null) {
    context.moveTo(low.x, at(0, up).y);
    context.lineTo(high.x, at(0, up).y);
  }
  context.stroke();
}

function AxisChoice({
  label,
  score,
  onScore,
}: {
  label: string;
  score: ScoreName;
  onScore(score: ScoreName): void;
}) {
  const { t } = useTranslation();
  return (
    <label className="heads-axis">
      <span>{label}</span>
      <select
        className="input"
        value={score}
        onKeyDown={(event) => event.stopPropagation()}
        onChange={(event) => onScore(event.target.value as ScoreName)}
      >
        {SCORES.map((name) => (
          <option key={name} value={name}>
            {t(`heads.scores.${name}`)}
          </option>
        ))}
      </select>
    </label>
  );
}
