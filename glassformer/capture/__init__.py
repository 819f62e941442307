"""Values out of a running block, under the model's lock."""
