"""A transformer made of glass: a model server, and a page that shows any causal language model at work."""
