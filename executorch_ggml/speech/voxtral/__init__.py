"""Voxtral Realtime: a causal audio encoder whose output is added to a text decoder's input, position by position."""
