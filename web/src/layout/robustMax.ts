/** The share of magnitudes that a colour scale must hold; the few beyond it saturate, so that the many can be told apart. */
const SHARE = 0.98;
/** More values than this are sampled: a scale does not need every one. */
const SAMPLE = 20_000;

/** The 98th percentile of the finite magnitudes; 0 where there are none. */
export function robustMax(values: ArrayLike<number>): number {
  const step = Math.max(1, Math.floor(values.length / SAMPLE));
  const magnitudes: number[] = [];
  for (let index = 0; index < values.length; index += step) {
    const magnitude = Math.abs(values[index] as number);
    if (Number.isFinite(magnitude)) magnitudes.push(magnitude);
  }
  if (magnitudes.length === 0) return 0;
  const sorted = Float64Array.from(magnitudes).sort();
  const at = Math.min(sorted.length - 1, Math.floor(sorted.length * SHARE));
  return sorted[at] || (sorted.at(-1) as number);
}
