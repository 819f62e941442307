import type { Candidate, Distribution } from "../protocol/schema.generated";

export interface SkylineBar {
  candidate: Candidate;
  /** Of the many, the one that is lit: the word that stands there, or the likeliest where none does yet. */
  lit: boolean;
  /** In bars from the middle, where the likeliest stands; the others in turn to its right and left. */
  slot: number;
  /** Likelier words than this one have no bar. */
  apart: boolean;
}

/** The likeliest words, `count` of them; the last gives way to the chosen one where that is not among them. */
export function skylineBars({ candidates, chosen }: Distribution, count: number): SkylineBar[] {
  const shown = candidates.slice(0, count);
  const place = candidates.findIndex(({ token }) => token.id === chosen);
  const isApart = place >= count;
  const own = candidates[place];
  if (isApart && own) shown.splice(count - 1, 1, own);
  return shown.map((candidate, index) => ({
    candidate,
    lit: own ? candidate === own : index === 0,
    slot: index % 2 === 0 ? -index / 2 : (index + 1) / 2,
    apart: isApart && candidate === own,
  }));
}
