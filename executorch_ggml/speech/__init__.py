"""Speech recognition: audio in, text with times out.

`transcribe` is the short way; `Parakeet` and `VoxtralRealtime` are the runners behind it. Running imports no torch; the
modules that export and convert do.
"""
