"""What mattered for one decision of a model: what its parts add, and what they are worth by test."""
