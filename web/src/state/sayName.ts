import i18next from "i18next";

/** What a point of the computation is called in words; its own name where it has none. */
export function sayPoint(point: string): string {
  const key = `points.${point}` as "points.q";
  return i18next.exists(key) ? String(i18next.t(key)) : point;
}

/**
 * What a site is called in words: "keys of key/value head 1". Null for one that has no words, and for a weight.
 * `lead` is its index along the leading axis; undefined or negative: all of them.
 */
export function sayName(address: string, axes: readonly string[], lead?: number): string | null {
  const point = address.split(".")[0] ?? "";
  if (!i18next.exists(`points.${point}`)) return null;
  const what = sayPoint(point);
  const owner = `owners.${axes[0]}` as "owners.head";
  const isOne = axes.length > 2 && i18next.exists(owner) && lead !== undefined && lead >= 0;
  return isOne ? String(i18next.t(owner, { what, lead })) : what;
}
