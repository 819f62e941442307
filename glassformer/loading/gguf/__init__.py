"""Models in GGUF files: their config, tokenizer and weights, by transformers' own tables of what is what in them."""
