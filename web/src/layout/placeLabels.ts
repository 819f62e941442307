/** A rectangle on the screen, in CSS pixels. */
export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface LabelCandidate {
  box: Box;
  /** Lower numbers are placed first. */
  priority: number;
}

/** Free space around a label, in pixels. */
const MARGIN = 2;
const CELL = 64;

/** The candidates that can stand without overlapping, most important first: their indices. */
export function placeLabels(
  candidates: readonly LabelCandidate[],
  limit = Number.POSITIVE_INFINITY,
): number[] {
  const byPriority = candidates.map((_, index) => index);
  byPriority.sort(
    (a, b) =>
      (candidates[a] as LabelCandidate).priority - (candidates[b] as LabelCandidate).priority || a - b,
  );
  const grid = new Map<string, Box[]>();
  const placed: number[] = [];
  for (const index of byPriority) {
    if (placed.length >= limit) break;
    const { box } = candidates[index] as LabelCandidate;
    const cells = cellsOf(box);
    if (cells.some((cell) => grid.get(cell)?.some((other) => overlap(box, other)))) continue;
    for (const cell of cells) grid.set(cell, [...(grid.get(cell) ?? []), box]);
    placed.push(index);
  }
  return placed;
}

function overlap(a: Box, b: Box): boolean {
  return (
    a.x < b.x + b.width + MARGIN &&
    b.x < a.x + a.width + MARGIN &&
    a.y < b.y + b.height + MARGIN &&
    b.y < a.y + a.height + MARGIN
  );
}

function cellsOf(box: Box): string[] {
  const cells: string[] = [];
  for (
    let x = Math.floor((box.x - MARGIN) / CELL);
    x <= Math.floor((box.x + box.width + MARGIN) / CELL);
    x++
  ) {
    for (
      let y = Math.floor((box.y - MARGIN) / CELL);
      y <= Math.floor((box.y + box.height + MARGIN) / CELL);
      y++
    ) {
      cells.push(`${x},${y}`);
    }
  }
  return cells;
}
