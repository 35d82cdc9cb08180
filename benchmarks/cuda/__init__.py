"""Scripts for a machine with a GPU: what it is checked with and what it is measured with."""
