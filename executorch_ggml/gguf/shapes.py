"""Shapes in messages, in the one order that loading, ``check`` and ``export`` all use: ggml's, fastest first."""

from __future__ import annotations

from collections.abc import Sequence


def shape_text(shape: Sequence[int]) -> str:
    """A torch shape as the library writes it: reversed, and without the ones at the end."""
    order = list(reversed(shape)) or [1]
    while len(order) > 1 and order[-1] == 1:
        order.pop()
    return str(order)


def wrong_shape(name: str, path: object, found: Sequence[int], wanted: Sequence[int]) -> str:
    """The sentence of csrc/weights/binding.cpp, for those that have not loaded the library.

    Args:
        name: of the tensor in the file.
        found, wanted: torch shapes, slowest first.
    """
    transposed = len(found) == len(wanted) == 2 and tuple(found) == tuple(reversed(wanted))
    hint = ": it is transposed; convert the model again" if transposed else ""
    return (
        f"weight '{name}' in {path} has shape {shape_text(found)}, "
        f"the graph needs {shape_text(wanted)} (ggml order){hint}"
    )
