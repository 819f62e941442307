"""What a run's numbers mean: where a cell comes from, and what the model would write at each depth."""
