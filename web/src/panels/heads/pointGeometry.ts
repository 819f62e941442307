import type { HeadPlace } from "../../state/AppState";
import type { HeadRow, ScoreName } from "./headScores";

interface Axis {
  score: ScoreName;
  limit: number;
}

export interface PointAxes {
  across: Axis;
  up: Axis;
}

interface Size {
  width: number;
  height: number;
}

interface Point {
  x: number;
  y: number;
}

const MARGIN = { left: 36, right: 10, top: 8, bottom: 24 };
/** A finger, or a hand that is not steady, still gets the point it means. */
const REACH_PX = 14;

/** Where two values stand, in CSS pixels from the top left corner. What a head is worth has zero in the middle. */
export function pointOf(
  values: { across: number; up: number },
  axes: PointAxes,
  { width, height }: Size,
): Point {
  const across = shareOf(values.across, axes.across);
  const up = shareOf(values.up, axes.up);
  return {
    x: MARGIN.left + across * (width - MARGIN.left - MARGIN.right),
    y: height - MARGIN.bottom - up * (height - MARGIN.top - MARGIN.bottom),
  };
}

function shareOf(value: number, { score, limit }: Axis): number {
  const share = score === "worth" ? (value / limit + 1) / 2 : value / limit;
  return Math.max(0, Math.min(1, share));
}

/** The head whose point is nearest to a place, within reach. */
export function nearestPoint(
  rows: readonly HeadRow[],
  axes: PointAxes,
  size: Size,
  place: Point,
): HeadPlace | null {
  let nearest: HeadPlace | null = null;
  let least = REACH_PX;
  for (const { block, head, values } of rows) {
    const [across, up] = [values[axes.across.score], values[axes.up.score]];
    if (across === null || up === null) continue;
    const point = pointOf({ across, up }, axes, size);
    const distance = Math.hypot(point.x - place.x, point.y - place.y);
    if (distance < least) [nearest, least] = [{ block, head }, distance];
  }
  return nearest;
}
