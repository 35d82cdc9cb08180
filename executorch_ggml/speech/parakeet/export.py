"""Parakeet to a `.pte` of four methods.

    log_mel(samples float32 [1, hop * T + window - hop]) -> float32 [1, T, mels]
    encoder(features float32 [1, T, mels])               -> float32 [1, ceil(T / 8), joint_width]
    predictor(token int64 [1, 1])                        -> float32 [1, 1, joint_width]
    joint(frames [1, n, joint_width], predicted)         -> tokens int64 [n], durations int64 [n]

The predictor's LSTM state is the program's (`Program.reset` makes it zero).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import torch
from torch.export import Dim

from executorch_ggml.aot.quantization import GgmlQuantConfig
from executorch_ggml.speech.export_methods import Method, SpeechExport, export_methods, part

from .model import Parakeet

__all__ = ["LOOKAHEAD", "export_parakeet", "quantization"]

LOOKAHEAD = 32
"""Frames that the joint network may take at once."""

# Tables that are computed, not learnt: rounding them would blur every spectrum, and gain nothing.
_EXACT = ("log_mel.*", "encoder.positions")


def quantization(dtype: str) -> GgmlQuantConfig | None:
    """How weights are stored for a dtype: F32 (as they are), F16, BF16, Q8_0, ..."""
    return None if dtype.upper() == "F32" else GgmlQuantConfig(dtype, skip=_EXACT)


def methods(model: Parakeet) -> dict[str, Method]:
    """The four methods with example inputs and bounds."""
    config, frames = model.config, 4 * model.config.subsampling
    longest = Dim("frames", min=2, max=model.max_frames)
    length = Dim("length", min=config.subsampling + 1, max=model.max_frames)
    ahead = Dim("ahead", min=1, max=LOOKAHEAD)
    samples = torch.zeros(1, config.hop * frames + config.window - config.hop)
    wide = config.joint_width
    return {
        "log_mel": Method(
            part(model, "log_mel"), (samples,), ({1: config.hop * longest + (config.window - config.hop)},)
        ),
        "encoder": Method(part(model, "encoder"), (torch.zeros(1, frames, config.mels),), ({1: length},)),
        "predictor": Method(part(model, "predictor"), (torch.zeros(1, 1, dtype=torch.int64),), ({},)),
        "joint": Method(part(model, "joint"), (torch.zeros(1, 4, wide), torch.zeros(1, 1, wide)), ({1: ahead}, {})),
    }


def export_parakeet(
    model: Parakeet, path: str | os.PathLike[str], *, dtype: str = "F32", vocabulary: Sequence[bytes] = ()
) -> SpeechExport:
    """Writes the `.pte` with its weights inside, in dtype ("F32", "BF16", "Q8_0", ...; see docs/quantization.md).

    vocabulary: the text of each token id. Raises the errors of `export_methods`.
    """
    facts: dict[str, Any] = {
        "family": "parakeet-tdt",
        "max_frames": model.max_frames,
        "lookahead": LOOKAHEAD,
        **dataclasses.asdict(model.config),
    }
    return export_methods(methods(model), path, config=facts, vocabulary=vocabulary, quant=quantization(dtype))
