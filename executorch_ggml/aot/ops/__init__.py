"""Lowerings, one file per family of operators. Importing a module registers them."""
