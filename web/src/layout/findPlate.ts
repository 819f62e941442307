import type { Cell } from "./Cell";
import type { Layout } from "./Layout";
import { type Plate, shows } from "./Plate";

/** The plate of a cell, also where its block is drawn as a card. */
export function findPlate(layout: Layout, cell: Cell): Plate | undefined {
  const isOwn = (plate: Plate) => shows(plate, cell);
  const atEnds = layout.plates.find(isOwn);
  if (atEnds) return atEnds;
  // Addresses and the names of weights carry the number of their block.
  const numbers = new Set((cell.address.match(/\d+/g) ?? []).map(Number));
  for (const block of layout.blocks) {
    if (!numbers.has(block.index)) continue;
    const plate = block.detail().plates.find(isOwn);
    if (plate) return plate;
  }
  return undefined;
}
