import type { BoundaryWords, Word } from "../protocol/schema.generated";

/** The word that the model would say at a boundary, as it stands along the spine. */
export interface SpineWord {
  boundary: number;
  text: string;
  probability: number;
  /** It is the reading's own word. */
  isChosen: boolean;
  /** The boundary before says the same: the word is not said again. */
  isSame: boolean;
  /** Lower numbers keep their place where not all have room. */
  priority: number;
}

/** Priorities: the last word, the first of the chosen ones that stay, then by probability. */
const LAST = 0;
const LEADS = 1;
const OTHERS = 10;

/** The words along the spine, from the embedding down. */
export function spineWords(lens: readonly BoundaryWords[], chosen: Word): SpineWord[] {
  const leads = leadsFrom(lens, chosen);
  return lens.flatMap(({ boundary, tokens }, at): SpineWord[] => {
    const word = tokens[0];
    if (!word) return [];
    const isSame = lens[at - 1]?.tokens[0]?.id === word.id;
    const isLast = at === lens.length - 1;
    const rank = isLast ? LAST : boundary === leads ? LEADS : OTHERS + (1 - word.probability);
    const { text, probability } = word;
    return [
      {
        boundary,
        text,
        probability,
        isChosen: word.id === chosen.id,
        isSame: isSame && !isLast,
        priority: rank,
      },
    ];
  });
}

/** The boundary from which the chosen word leads to the end; null where another one leads there. */
export function leadsFrom(lens: readonly BoundaryWords[], chosen: Word): number | null {
  let from: number | null = null;
  for (const { boundary, tokens } of lens) {
    if (tokens[0]?.id !== chosen.id) from = null;
    else from ??= boundary;
  }
  return from;
}
