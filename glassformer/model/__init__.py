"""The model: loading it, reading its anatomy, checking the anatomy; the only user of interp-engine."""
