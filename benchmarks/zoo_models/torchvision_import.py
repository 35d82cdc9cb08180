"""Importing torchvision whatever torch it was built for.

PyPI's torchvision for Linux is built against CUDA. Beside a torch without CUDA its library of extra operators does not
load, and the import fails because the Python half registers fake implementations of operators that nobody defined. No
model here uses them: defining their schemas is enough.

A torchvision that cannot be imported would also take down transformers, which imports it where it finds it. Therefore
`make setup` installs it in a directory of its own, which only this module puts on the path.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

APART = Path(sys.prefix) / "apart"
"""Where `make setup` puts it."""

_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_library: Any = None  # its definitions live as long as this object


def torchvision() -> Any:
    """The module ``torchvision``. Raises ModuleNotFoundError when it is not installed."""
    global _library
    if APART.is_dir() and str(APART) not in sys.path:
        sys.path.append(str(APART))
    try:
        import torchvision
    except RuntimeError as error:
        if _library is not None or "torchvision::" not in str(error):
            raise
        for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        _library = torch.library.Library("torchvision", "DEF")
        for operator in _OPERATORS:
            _library.define(operator)
        import torchvision
    return torchvision
