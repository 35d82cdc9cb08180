"""Parakeet TDT: a FastConformer encoder and a token-and-duration transducer."""
