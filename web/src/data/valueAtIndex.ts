/** One value of an array in row-major order; null outside of it. Axes that the index leaves out are taken at 0. */
export function valueAtIndex(
  values: Float32Array,
  shape: readonly number[],
  index: readonly number[],
): number | null {
  let offset = 0;
  for (const [axis, size] of shape.entries()) {
    const at = index[axis] ?? 0;
    if (at < 0 || at >= size) return null;
    offset = offset * size + at;
  }
  return values[offset] ?? null;
}
