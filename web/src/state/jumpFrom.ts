import type { Cell } from "../layout/Cell";
import type { AppState } from "./AppState";
import { blockOf } from "./searchPlaces";
import { findSite } from "./selectors";

export type Jump = "largest" | "smallest" | "nextBlock" | "previousBlock";

/**
 * The cell that a jump from the selected one leads to; null where there is none. Largest and smallest are those of the
 * plane that is shown, masked cells left out.
 */
export function jumpFrom(state: AppState, jump: Jump): Cell | null {
  const { selection } = state;
  if (!selection) return null;
  if (jump === "largest" || jump === "smallest") return findExtreme(state, selection, jump);
  const block = blockOf(selection.address);
  if (block === null) return null;
  const step = jump === "nextBlock" ? 1 : -1;
  const address = selection.address.replace(/\d+$/, String(block + step));
  const site = findSite(state.anatomy, address);
  return site?.axes.length === selection.index.length ? { address, index: selection.index } : null;
}

function findExtreme({ inspected }: AppState, { address, index }: Cell, jump: Jump): Cell | null {
  const matrix = inspected.value;
  if (matrix?.address !== address) return null;
  const { shape, values, level } = matrix;
  const [rows, columns] = [shape.length > 1 ? (shape.at(-2) ?? 1) : 1, shape.at(-1) ?? 1];
  const plane = shape
    .slice(0, -2)
    .reduce((offset, size, axis) => offset * size + Math.min(index[axis] ?? 0, size - 1), 0);
  const sign = jump === "largest" ? 1 : -1;
  let best = -1;
  for (let at = plane * rows * columns; at < (plane + 1) * rows * columns; at += 1) {
    const value = values[at] ?? Number.NaN;
    if (Number.isFinite(value) && (best < 0 || sign * value > sign * (values[best] ?? 0))) best = at;
  }
  if (best < 0) return null;
  const cell = best - plane * rows * columns;
  // A pooled cell stands for so many by so many; its corner is the one that can be named.
  const [row, column] = [Math.floor(cell / columns) * 2 ** level, (cell % columns) * 2 ** level];
  return { address, index: shape.length > 1 ? [...index.slice(0, -2), row, column] : [column] };
}
