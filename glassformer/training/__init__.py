"""Trains the bundled models from a seed: their corpora, their recipes, one loop. Knows no server and no page."""

from glassformer.training.training_run import NAMES, Trained, train

__all__ = ["NAMES", "Trained", "train"]
