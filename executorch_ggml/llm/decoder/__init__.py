"""Decoders built from a GGUF's own description of itself.

`read_header` reads metadata and tensor table, `build_decoder` makes the torch module (weights on the meta device), and
`load_dequantized` fills it for an eager reference run. torch is imported late.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from executorch_ggml.gguf.header import GgufHeader, TensorInfo, read_header

from .architectures import ARCHITECTURES, Architecture
from .config import ModelConfig, RopeConfig, load_config

if TYPE_CHECKING:
    from .decoder import TIED_HEAD, Decoder, build_decoder
    from .weights import load_dequantized

__all__ = [
    "ARCHITECTURES",
    "TIED_HEAD",
    "Architecture",
    "Decoder",
    "GgufHeader",
    "ModelConfig",
    "RopeConfig",
    "TensorInfo",
    "build_decoder",
    "load_config",
    "load_dequantized",
    "read_header",
]

_TORCH = {"TIED_HEAD": "decoder", "Decoder": "decoder", "build_decoder": "decoder", "load_dequantized": "weights"}


def __getattr__(name: str) -> Any:
    if name not in _TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_TORCH[name]}"), name)
