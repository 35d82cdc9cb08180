"""A published speech checkpoint to a `.pte`, of any family.

export_checkpoint("parakeet-tdt-0.6b-v3.nemo", "parakeet.pte", dtype="Q8_0")
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from executorch_ggml.errors import InvalidArgumentError, UnsupportedError

from .checkpoint import read_json
from .export_methods import SpeechExport
from .parakeet.convert import load_parakeet
from .parakeet.export import export_parakeet
from .voxtral.convert import open_voxtral
from .voxtral.export import export_voxtral, write_weights
from .voxtral.model import VoxtralRealtime

__all__ = ["CheckpointExport", "export_checkpoint", "family_of"]

MAX_STEP = 64
"""Tokens of audio in one call of Voxtral's encoder."""
LONGEST_SECONDS = 40.0
"""Of audio in one call of Parakeet's encoder."""
FRAMES_PER_SECOND = 100
"""Of the spectrogram that Parakeet's encoder takes."""


@dataclass(frozen=True)
class CheckpointExport:
    """The files of an export. gguf: the weights, None when they are inside of the graph; gguf_bytes: their size."""

    family: str
    result: SpeechExport
    gguf: Path | None = None
    gguf_bytes: int = 0


def family_of(path: str | os.PathLike[str]) -> str:
    """``parakeet`` or ``voxtral``, by the files and the configuration of a checkpoint.

    Raises FileError, FormatError (a configuration that cannot be read), UnsupportedError (any other model).
    """
    path = Path(path)
    if path.suffix == ".nemo" or (not (path / "config.json").exists() and any(path.glob("*.nemo"))):
        return "parakeet"
    if (path / "params.json").exists():
        return "voxtral"
    kind = str(read_json(path / "config.json").get("model_type"))
    for family in ("parakeet", "voxtral"):
        if kind.startswith(family):
            return family
    raise UnsupportedError(f"{path}: model_type is {kind!r}; 'parakeet_tdt' and 'voxtral_realtime' are implemented")


def export_checkpoint(
    path: str | os.PathLike[str],
    pte: str | os.PathLike[str],
    *,
    dtype: str = "Q8_0",
    streaming: bool = False,
    max_seconds: float | None = None,
    max_seq_len: int | None = None,
    delay_tokens: int | None = None,
) -> CheckpointExport:
    """Writes the `.pte` of a checkpoint; Voxtral's weights become a `.gguf` of the same name beside it.

    Args:
        path: a `.nemo` archive, or a folder in Hugging Face's or Mistral's layout.
        dtype: of matrices: F32, F16, BF16, Q8_0, Q4_K and the others of ``GgmlQuantConfig``.
        streaming: Voxtral: audio without end, by caches that slide.
        max_seconds: Parakeet: the longest piece of audio in one call; 40 if missing.
        max_seq_len: Voxtral: positions (0.08 s each) of the decoder's caches.
        delay_tokens: Voxtral: delay of the text in steps of 0.08 s; by default as the checkpoint says.

    Raises:
        FileError, FormatError: files that cannot be read.
        BindError: tensors that are missing, unknown or mis-shaped.
        UnsupportedError: another model, or an option of one that is not implemented.
        InvalidArgumentError: an option of the other family.
    """
    family = family_of(path)
    foreign = {"max_seconds": max_seconds is not None}
    if family == "parakeet":
        foreign = {
            "streaming": streaming,
            "max_seq_len": max_seq_len is not None,
            "delay_tokens": delay_tokens is not None,
        }
    if wrong := [name for name, given in foreign.items() if given]:
        raise InvalidArgumentError(f"{path} is a {family} model, which has no option {', '.join(wrong)}")
    if family == "parakeet":
        seconds = LONGEST_SECONDS if max_seconds is None else max_seconds
        model, pieces = load_parakeet(path, round(seconds * FRAMES_PER_SECOND))
        return CheckpointExport(family, export_parakeet(model, pte, dtype=dtype, vocabulary=pieces))
    checkpoint = open_voxtral(path, delay_tokens=delay_tokens)
    rows = max_seq_len or (checkpoint.config.decoder.window + 1024 if streaming else 4096)
    graph = VoxtralRealtime.meta(checkpoint.config, MAX_STEP, rows)
    result = export_voxtral(graph, pte, vocabulary=checkpoint.pieces, streaming=streaming)
    gguf = Path(pte).with_suffix(".gguf")
    return CheckpointExport(family, result, gguf, write_weights(checkpoint.sources(graph), gguf, dtype))
