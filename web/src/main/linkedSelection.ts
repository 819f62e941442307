import type { Cell } from "../layout/Cell";
import type { AppState, LinkFault } from "../state/AppState";
import { isEnded } from "../state/selectors";
import type { UrlState } from "../state/urlState";

/** The state for a cell that a link names: it is selected, and on a narrow screen the inspector is open. */
export function linkedSelection(cell: Cell | null): Pick<AppState, "selection"> & Partial<AppState> {
  return { selection: cell, ...(cell ? { sheet: "inspector" as const } : {}) };
}

/** What of a link cannot be shown beside the recording that it led to. */
export function findFault({ unread, position }: UrlState, { trace }: AppState): LinkFault | null {
  if (unread.length > 0) return { key: "unread", names: unread.join(", ") };
  const count = trace?.tokens.length ?? 0;
  // A text that is being written may come as far.
  const isOutside = position !== null && trace !== null && isEnded(trace) && position >= count;
  return isOutside ? { key: "position", position, count } : null;
}

/** The state for the decision and the cell that a link names. */
export function linkedView({ position, versus, off, selection }: UrlState): Partial<AppState> {
  return { position, versus, off, ...linkedSelection(selection) };
}
