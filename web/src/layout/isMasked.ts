/** Whether rows are queries and columns keys. */
export function isPattern(axes: readonly string[]): boolean {
  return axes.at(-2) === "query" && axes.at(-1) === "key";
}

/**
 * Whether attention does not look there: a score is minus infinity then. A probability is zero, as masked as its score if
 * the key comes after the query. `row` and `column` are of a pattern, at any level.
 */
export function isMasked(value: number, row: number, column: number): boolean {
  if (value === Number.NEGATIVE_INFINITY) return true;
  return column > row && (value === 0 || Number.isNaN(value));
}
