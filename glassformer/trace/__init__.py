"""Recordings of a model at work: residuals now, every other site on demand; the only torch -> numpy door."""
