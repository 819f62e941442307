/** Whole numbers in order, neighbours joined: `0–2, 5`; of many runs the first two. */
export function sayRuns(numbers: readonly number[]): string {
  const runs: [number, number][] = [];
  for (const number of numbers) {
    const last = runs.at(-1);
    if (last && number === last[1] + 1) last[1] = number;
    else runs.push([number, number]);
  }
  const said = runs.slice(0, 2).map(([from, to]) => (from === to ? `${from}` : `${from}–${to}`));
  return said.join(", ") + (runs.length > 2 ? ", …" : "");
}
