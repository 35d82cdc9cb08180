"""Voxtral Realtime: a causal audio encoder whose output is added to the input of a text decoder, position by position."""
