import type { Cell } from "../layout/Cell";
import type { AppState } from "../state/AppState";

/** The state for a cell that a link names: it is selected, and on a narrow screen the inspector is open. */
export function linkedSelection(cell: Cell | null): Pick<AppState, "selection"> & Partial<AppState> {
  return { selection: cell, ...(cell ? { sheet: "inspector" as const } : {}) };
}
