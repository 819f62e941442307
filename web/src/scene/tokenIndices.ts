import type { Cell } from "../layout/Cell";
import { isTokenAxis } from "../protocol/isTokenAxis";
import type { Site } from "../protocol/schema.generated";

/** The positions of all tokens that a cell of a site belongs to; none for a cell of a weight. */
export function tokenIndices(cell: Cell, site: Site | undefined): number[] {
  return cell.index.filter((_, axis) => isTokenAxis(site?.axes[axis]));
}

/** The token whose column a cell stands in; -1: it belongs to none. */
export function columnOf(cell: Cell, site: Site | undefined): number {
  const axis = (site?.axes ?? []).findIndex((each) => each === "pos" || each === "query");
  return axis < 0 ? -1 : (cell.index[axis] ?? -1);
}
