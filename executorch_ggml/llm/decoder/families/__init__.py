"""The families of decoders. A file in this folder is a family: it needs no other registration."""

from __future__ import annotations

import importlib
import pkgutil

from executorch_ggml.llm.decoder.family import Family

__all__ = ["ARCHITECTURES"]

_FILES = sorted(info.name for info in pkgutil.iter_modules(__path__))
_FAMILIES: list[Family] = [importlib.import_module(f"{__name__}.{name}").FAMILY for name in _FILES]

ARCHITECTURES: dict[str, Family] = {name: family for family in _FAMILIES for name in family.names}
"""Each name that a GGUF may have in `general.architecture`, with its family."""
