import type { PageTable, TableArea } from "./PageTable";
import type { Sheet } from "./Sheet";

/** Numbers of a matrix in a list: its first entry, counted from 1 (0: it is not held), and its levels and row length. */
const FIELDS = 2;
const LEVELS = 2 ** 5;

/** Lists in the page table of all matrices of a tensor, so that one drawing of all of them finds each. */
export class LeadLists {
  private readonly table: PageTable;
  private readonly areas = new Map<string, { area: TableArea; isStale: boolean }>();

  constructor(table: PageTable) {
    this.table = table;
  }

  /** Sheets came, went or moved: lists are written anew when they are asked for. */
  forget(): void {
    for (const each of this.areas.values()) each.isStale = true;
  }

  /** The table was cleared. */
  clear(): void {
    this.areas.clear();
  }

  /** The first number of a tensor's list. */
  find(name: string, sheets: ReadonlyMap<number, Sheet>, count: number): number {
    const found = this.areas.get(name);
    if (found && !found.isStale && found.area.columns >= count * FIELDS) return found.area.at;
    const fits = found && found.area.columns >= count * FIELDS;
    const area = fits ? found.area : this.table.take(count * FIELDS, 1);
    this.areas.set(name, { area, isStale: false });
    for (let lead = 0; lead < count; lead++) {
      const sheet = sheets.get(lead);
      const own = sheet?.area;
      this.table.set(area, lead * FIELDS, 0, own ? own.at + 1 : 0);
      this.table.set(area, lead * FIELDS + 1, 0, own ? sheet.base.columns + own.columns * LEVELS : 0);
    }
    return area.at;
  }
}
