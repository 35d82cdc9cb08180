"""Voxtral Realtime to a `.pte`.

    log_mel(samples float32 [1, hop * T + window - hop])                      -> float32 [1, mels, T]
    encoder(mel [1, mels, 8 n], positions int64 [4 n], rows int64 [4 n])       -> float32 [1, n, width]
    decoder(audio [1, T, width], tokens int64 [1, T], positions, rows [T])     -> logits float32 [1, 1, vocab]
    compact_encoder(keep int64 [window]), compact_decoder(keep int64 [window]) -> nothing of interest

Caches and the convolutions' memory are states of the program, shared by its methods (`Program.reset` empties them).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch.export import Dim

from executorch_ggml.aot.quantization import GgmlQuantConfig
from executorch_ggml.errors import InvalidArgumentError
from executorch_ggml.gguf.writer import TensorSource, write_gguf
from executorch_ggml.speech.export_methods import Method, SpeechExport, export_methods, part

from .model import Compaction, VoxtralRealtime

__all__ = ["export_voxtral", "methods", "write_weights"]

_EXACT = ("log_mel.*",)


def methods(model: VoxtralRealtime, *, streaming: bool = False) -> dict[str, Method]:
    """The methods with example inputs and bounds. streaming: the decoder's caches can be compacted, too."""
    config = model.config
    step = config.mel_per_token
    frames, pieces = Dim("frames", min=2, max=step * model.max_tokens + 1), Dim("pieces", min=1, max=model.max_tokens)
    longest = min(model.decoder_rows, max(model.max_tokens, 2 + config.left_pad_tokens + config.delay_tokens))
    length = Dim("length", min=1, max=longest)

    def ids(*shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=torch.int64)

    def mel_of(n: int) -> torch.Tensor:
        return torch.zeros(1, config.mels, step * n)

    samples = torch.zeros(1, config.hop * 3 + config.window - config.hop)
    each = config.downsample
    found = {
        "log_mel": Method(
            part(model, "log_mel"), (samples,), ({1: config.hop * frames + (config.window - config.hop)},)
        ),
        "encoder": Method(
            part(model, "encoder"),
            (mel_of(3), ids(3 * each), ids(3 * each)),
            ({2: step * pieces}, {0: each * pieces}, {0: each * pieces}),
        ),
        "decoder": Method(
            part(model, "decoder"),
            (torch.zeros(1, 3, config.decoder.width), ids(1, 3), ids(3), ids(3)),
            ({1: length}, {1: length}, {0: length}, {0: length}),
        ),
        "compact_encoder": _compaction("encoder", model.encoder, config.encoder.window),
    }
    if streaming:
        if model.decoder_rows <= config.decoder.window:
            raise InvalidArgumentError(
                f"streaming without end takes more than the decoder's window of {config.decoder.window} positions in "
                f"its caches; decoder_rows is {model.decoder_rows}"
            )
        found["compact_decoder"] = _compaction("decoder", model.decoder, config.decoder.window)
    return found


def _compaction(name: str, transformer: torch.nn.Module, window: int) -> Method:
    return Method(Compaction(name, transformer).eval(), (torch.zeros(window, dtype=torch.int64),), ({},))


def export_voxtral(
    model: VoxtralRealtime,
    path: str | os.PathLike[str],
    *,
    dtype: str = "F32",
    vocabulary: Sequence[bytes] = (),
    streaming: bool = False,
) -> SpeechExport:
    """Writes the `.pte`.

    Parameters with data go into it, in dtype. Parameters on the meta device are left to a GGUF (`write_weights`), and
    its types apply. The export then takes only the memory of its graph.

    vocabulary: the text of each token id. streaming: audio without end; otherwise it ends when the decoder's caches are
    full. Raises InvalidArgumentError, and the errors of `export_methods`.
    """
    facts: dict[str, Any] = {
        "family": "voxtral-realtime",
        "max_tokens": model.max_tokens,
        "encoder_rows": model.encoder_rows,
        "decoder_rows": model.decoder_rows,
        "streaming": streaming,
        **dataclasses.asdict(model.config),
    }
    quant = None if dtype.upper() == "F32" else GgmlQuantConfig(dtype, skip=_EXACT)
    return export_methods(methods(model, streaming=streaming), path, config=facts, vocabulary=vocabulary, quant=quant)


def write_weights(sources: Iterable[TensorSource], path: str | os.PathLike[str], dtype: str) -> int:
    """The weights of an export from the meta device, as a GGUF; returns its size in bytes.

    Raises the errors of `write_gguf`. Under the name of the `.pte` and beside it, it is found without being named.
    """
    return write_gguf(path, sources, dtype, metadata={"general.type": "model", "general.name": "voxtral-realtime"})
