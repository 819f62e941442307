"""The closed set of operations that equations are made of: computed whole, cell by cell, and as formulas."""
