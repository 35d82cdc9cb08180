"""Decoders built from a GGUF's own description of itself.

`read_header` reads metadata and tensor table, `build_decoder` makes the torch module (weights on the meta device), and
`load_dequantized` fills it for an eager reference run. A family of architectures is a file in `families/`. torch is
imported late.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from executorch_ggml.gguf.header import GgufHeader, TensorInfo, read_header

from .config import ModelConfig, RopeConfig

if TYPE_CHECKING:
    from .block import Block, Place, StateKind
    from .decoder import TIED_HEAD, Decoder, build_decoder
    from .families import ARCHITECTURES
    from .family import Family
    from .load import load_config
    from .weights import load_dequantized

__all__ = [
    "ARCHITECTURES",
    "TIED_HEAD",
    "Block",
    "Decoder",
    "Family",
    "GgufHeader",
    "ModelConfig",
    "Place",
    "RopeConfig",
    "StateKind",
    "TensorInfo",
    "build_decoder",
    "load_config",
    "load_dequantized",
    "read_header",
]

_TORCH = {
    "ARCHITECTURES": "families",
    "TIED_HEAD": "decoder",
    "Block": "block",
    "Decoder": "decoder",
    "Family": "family",
    "Place": "block",
    "StateKind": "block",
    "build_decoder": "decoder",
    "load_config": "load",
    "load_dequantized": "weights",
}


def __getattr__(name: str) -> Any:
    if name not in _TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_TORCH[name]}"), name)
