"""The models of `zoo.py`: built from configuration with random weights, in their real size and as tiny variants.

Each family is a module with a list ``MODELS``; importing one imports the library that its models come from.
"""

from __future__ import annotations

import importlib

from .model import Inputs, ZooModel

FAMILIES = ("custom", "vision", "text", "decoders", "audio", "multimodal")


def family(name: str) -> list[ZooModel]:
    """The models of one family. Raises ImportError when the library they come from is not installed."""
    return list(importlib.import_module(f"{__name__}.{name}").MODELS)


def all_models() -> dict[str, ZooModel]:
    """Every model by name, in the order of the table."""
    return {model.name: model for name in FAMILIES for model in family(name)}


__all__ = ["FAMILIES", "Inputs", "ZooModel", "all_models", "family"]
