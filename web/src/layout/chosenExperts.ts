/** As parts of a reading and of effects name theirs; the server leaves out what a part has not. */
interface OfBlock {
  block?: number | null;
  expert?: number | null;
}

/** The experts that were chosen in each block, in order of their numbers. */
export function chosenExperts(parts: readonly OfBlock[]): Map<number, number[]> {
  const byBlock = new Map<number, number[]>();
  for (const { block, expert } of parts) {
    if (block == null || expert == null) continue;
    const known = byBlock.get(block) ?? [];
    if (known.includes(expert)) continue;
    byBlock.set(
      block,
      [...known, expert].sort((a, b) => a - b),
    );
  }
  return byBlock;
}
