/** Statistics of the finite values; masked (`-inf`) cells are counted, cells not recorded (NaN) are not. */
export interface Description {
  count: number;
  masked: number;
  min: number | null;
  max: number | null;
  mean: number | null;
  /** Population standard deviation. */
  std: number | null;
  norm: number | null;
  /** Share of exact zeros. */
  zeros: number | null;
}

export function describeValues(values: Float32Array): Description {
  let count = 0;
  let masked = 0;
  let zeros = 0;
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  let sum = 0;
  let squares = 0;
  for (const value of values) {
    if (!Number.isFinite(value)) {
      if (value === Number.NEGATIVE_INFINITY) masked += 1;
      continue;
    }
    count += 1;
    if (value === 0) zeros += 1;
    if (value < min) min = value;
    if (value > max) max = value;
    sum += value;
    squares += value * value;
  }
  if (count === 0) {
    return {
      count,
      masked,
      min: null,
      max: null,
      mean: null,
      std: null,
      norm: null,
      zeros: null,
    };
  }
  const mean = sum / count;
  return {
    count,
    masked,
    min,
    max,
    mean,
    std: Math.sqrt(deviation(values, mean) / count),
    norm: Math.sqrt(squares),
    zeros: zeros / count,
  };
}

/** A second pass: the difference of large sums would lose the digits that matter. */
function deviation(values: Float32Array, mean: number): number {
  let total = 0;
  for (const value of values) if (Number.isFinite(value)) total += (value - mean) ** 2;
  return total;
}
