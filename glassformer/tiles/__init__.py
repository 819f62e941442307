"""Everything viewable as a Zarr v3 store of levels and chunks. Knows numpy only: neither torch nor recordings."""
