"""Which module plays which role, read from the model itself; the only user of interp-engine."""
