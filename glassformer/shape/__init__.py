"""A model drawn from its config alone: sizes and parameters, no weights."""
