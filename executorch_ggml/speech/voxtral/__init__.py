"""Voxtral Realtime: the output of a causal audio encoder is added to a text decoder's input, position by position."""
