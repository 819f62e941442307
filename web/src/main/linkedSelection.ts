import type { Cell } from "../layout/Cell";
import type { AppState } from "../state/AppState";

/** What a link's cell sets: on a narrow screen the inspector opens in place of the prompt. */
export function linkedSelection(cell: Cell | null): Pick<AppState, "selection"> & Partial<AppState> {
  return { selection: cell, ...(cell ? { sheet: "inspector" as const } : {}) };
}
