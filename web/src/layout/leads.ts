/** Leading axes of which one index is one matrix, read and drawn by itself; as `SINGLE` in `tiles/zarr_store.py`. */
const SINGLE = new Set(["head", "kv_head", "expert"]);

/** Whether the first of these axes chooses among matrices that are read one by one. */
export function hasLeads(axes: readonly string[]): boolean {
  return axes.length > 2 && SINGLE.has(axes[0] ?? "");
}

/** The matrix that a cell stands in, by its index along the leading axis; undefined where there is only one. */
export function leadOf(axes: readonly string[], index: readonly number[]): number | undefined {
  return hasLeads(axes) ? (index[0] ?? 0) : undefined;
}
