"""The surroundings of an export: no garbage collection, and no warnings of other packages on the screen."""

from __future__ import annotations

import contextlib
import gc
import logging
import warnings
from collections.abc import Iterator


def drop_known_warnings() -> None:
    """For the whole process: the warnings that ExecuTorch's own calls cause in torch, about nothing a user wrote.

    `to_edge_transform_and_lower` and `to_executorch` copy programs, also when they are called without us in between.
    """
    warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Garbage collection off for the moment: it would walk a growing graph, all of it in use, again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps warnings of torch and ExecuTorch that say nothing about the model off the user's screen."""
    noisy = [logging.getLogger(name) for name in ("torch", "torchao", "executorch", "root")]
    levels = [log.level for log in noisy]
    try:
        for log in noisy:
            log.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(noisy, levels, strict=True):
            log.setLevel(level)
