"""Speech recognition: audio in, text with times out.

`speech.transcribe` is the short way; `ParakeetTranscriber` and `VoxtralTranscriber` are behind it. Running imports no
torch; the modules that export and convert do.
"""
