import type { Block, Site } from "../protocol/schema.generated";
import type { Frame } from "./Frame";
import type { Plate } from "./Plate";
import type { PlateMaker } from "./PlateMaker";

/** How the heads of a block share its side of the spine. */
export interface HeadGrid {
  groups: number;
  perGroup: number;
  /** Groups side by side, and query heads side by side in a group. */
  across: number;
  inside: number;
  cellWidth: number;
  cellHeight: number;
  groupWidth: number;
  groupHeight: number;
  strip: number;
}

export interface Card {
  head: number;
  kvHead: number;
  /** Top left corner and size of the two squares and their strips, on the frame. */
  x: number;
  y: number;
  width: number;
  height: number;
  strip: number;
}

const GAP = 5;

/** The arrangement in which the patterns come out largest. */
export function chooseHeadGrid(heads: number, kvHeads: number, width: number, height: number): HeadGrid {
  const groups = Math.max(1, kvHeads);
  const perGroup = Math.max(1, Math.round(heads / groups));
  let best: HeadGrid | null = null;
  let bestSize = -1;
  for (let across = 1; across <= groups; across++) {
    for (let inside = 1; inside <= perGroup; inside++) {
      const down = Math.ceil(groups / across);
      const rows = Math.ceil(perGroup / inside);
      const groupWidth = (width - GAP * 1.6 * (across - 1)) / across;
      const groupHeight = (height - GAP * (down - 1)) / down;
      const cellWidth = (groupWidth - GAP * (inside - 1)) / inside;
      const strip = Math.min(7, groupHeight * 0.14, cellWidth * 0.12);
      const cellHeight = (groupHeight - strip - 1.5 - 3 * (rows - 1)) / rows;
      // Two patterns stand side by side: a card wants to be about twice as wide as high.
      const size = Math.min((cellWidth - 2 * strip) / 2, cellHeight * 1.15);
      if (size > bestSize) {
        bestSize = size;
        best = { groups, perGroup, across, inside, cellWidth, cellHeight, groupWidth, groupHeight, strip };
      }
    }
  }
  return best as HeadGrid;
}

/** Where each query head's card lies on the frame. */
export function cardsOf(grid: HeadGrid): Card[] {
  const cards: Card[] = [];
  for (let kvHead = 0; kvHead < grid.groups; kvHead++) {
    const groupX = (kvHead % grid.across) * (grid.groupWidth + GAP * 1.6);
    const groupY = Math.floor(kvHead / grid.across) * (grid.groupHeight + GAP);
    for (let member = 0; member < grid.perGroup; member++) {
      cards.push({
        head: kvHead * grid.perGroup + member,
        kvHead,
        x: groupX + (member % grid.inside) * (grid.cellWidth + GAP),
        y: groupY + grid.strip + 1.5 + Math.floor(member / grid.inside) * (grid.cellHeight + 3),
        width: grid.cellWidth,
        height: grid.cellHeight,
        strip: grid.strip,
      });
    }
  }
  return cards;
}

/**
 * The fan of heads, drawn as the product it is: q stands left of the scores and k above them, the pattern follows
 * with v above it, and what was mixed stands right of it. Shared k and v are drawn once, above the first of their heads.
 */
export function layoutHeads(block: Block, frame: Frame, grid: HeadGrid, maker: PlateMaker): Plate[] {
  const plates: Plate[] = [];
  const bySite = (point: string): Site | undefined => block.sites.find((site) => site.point === point);
  const [q, k, v, z] = [bySite("q"), bySite("k"), bySite("v"), bySite("z")];
  const [scores, probs] = [bySite("attn_scores"), bySite("attn_probs")];
  for (const card of cardsOf(grid)) {
    const { strip } = card;
    const square = (card.width - 2 * strip - 4.5) / 2;
    const left = card.x + strip + 1.5;
    const right = left + square + 1.5;
    const isFirst = card.head % grid.perGroup === 0;
    const put = (
      site: Site | undefined,
      lead: number,
      x: number,
      y: number,
      w: number,
      h: number,
      flip: boolean,
    ) => {
      if (site)
        plates.push(maker.site(site, { frame, x, y, width: w, height: h, station: "head", lead, flip }));
    };
    put(q, card.head, card.x, card.y, strip, card.height, true);
    put(scores, card.head, left, card.y, square, card.height, false);
    put(probs, card.head, right, card.y, square, card.height, false);
    put(z, card.head, right + square + 1.5, card.y, strip, card.height, true);
    if (isFirst) {
      put(k, card.kvHead, left, card.y - strip - 1.5, square, strip, false);
      put(v, card.kvHead, right, card.y - strip - 1.5, square, strip, false);
    }
  }
  return plates;
}
