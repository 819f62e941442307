"""Which models are in memory, who uses them, and when they go."""
