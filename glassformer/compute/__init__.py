"""The same numbers, sooner: the attention tap, packed rows, key/value stores, products, compiled blocks, threads."""
