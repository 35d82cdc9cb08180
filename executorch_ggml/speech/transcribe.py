"""Transcribing with the speech model of a `.pte`, of any family.

from executorch_ggml.speech.transcribe import transcribe
print(transcribe("parakeet.pte", "speech.wav").text)
"""

from __future__ import annotations

import os
from typing import Any

from executorch_ggml.errors import FormatError

from .audio import AudioFile
from .package import SpeechProgram
from .parakeet.transcribe import FAMILY as PARAKEET
from .parakeet.transcribe import ParakeetTranscriber
from .transcriber import Transcriber
from .transcript import Transcript
from .voxtral.transcribe import FAMILY as VOXTRAL
from .voxtral.transcribe import VoxtralTranscriber

__all__ = ["Transcriber", "open_transcriber", "transcribe"]


def open_transcriber(
    pte: str | os.PathLike[str], gguf: str | os.PathLike[str] | None = None, **options: Any
) -> Transcriber:
    """A `ParakeetTranscriber` or `VoxtralTranscriber`, as the `.pte` says; options are theirs.

    Raises FormatError for a `.pte` of something else, and their errors.
    """
    with SpeechProgram(pte, gguf) as model:
        family = model.family
    if family == PARAKEET:
        return ParakeetTranscriber(pte, gguf, **options)
    if family == VOXTRAL:
        return VoxtralTranscriber(pte, gguf, **options)
    raise FormatError(f"{os.fspath(pte)}: a {family or 'nameless'} model; {PARAKEET} and {VOXTRAL} are implemented")


def transcribe(
    pte: str | os.PathLike[str],
    audio: str | os.PathLike[str],
    gguf: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Transcript:
    """The transcript of an audio file. Raises AudioError, FileError, and the errors of `open_transcriber`."""
    with open_transcriber(pte, gguf, **options) as model:
        return model.transcribe(AudioFile(audio, model.sample_rate))
