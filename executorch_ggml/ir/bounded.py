"""Bounds a payload before it is decoded into objects.

FlatBuffers may share a vector or a string between many tables: a payload of some kilobytes can decode into thousands of
millions of objects. The payloads of this package share nothing, so the decoded objects are never larger than the
payload. The limits are those of the loader (``csrc/ir``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .errors import IrError

_MAX_RANK, _MAX_CODE, _MAX_PARTS, _MAX_KEYS, _MAX_SOURCES = 16, 256, 64, 16, 1 << 16
_TABLES = ["Symbols", "Exprs", "Shapes", "Inputs", "Outputs", "Weights", "States", "Constants", "Nodes", "Expectations"]
_STRINGS = ("Name", "Key", "Value", "Initial")
_VECTORS = {"Ne": _MAX_RANK, "Dims": _MAX_RANK, "Code": _MAX_CODE, "Src": _MAX_SOURCES}


def check_size(root: Any, size: int) -> None:
    """root: the generated accessor of the graph. Raises IrError for one that decodes into more than `size` bytes."""
    left = size + 4096
    for cost in _costs(root):
        left -= cost
        if left < 0:
            raise IrError(f"the payload of {size} bytes would decode into more: it shares vectors or strings")


def _costs(root: Any) -> Iterator[int]:
    """Bytes that each vector and string has at least in a payload of its own."""
    for strings in (root.Producer, root.NamespaceKey):
        yield len(strings() or b"")
    for name in _TABLES:
        count = getattr(root, f"{name}Length")()
        yield 4 * count
        get = getattr(root, name)
        for i in range(count):
            table = get(i)
            for text in _STRINGS:
                value = getattr(table, text)() if hasattr(table, text) else None
                if isinstance(value, bytes):  # Output.Value is a number
                    yield len(value)
            for vector, most in _VECTORS.items():
                if hasattr(table, f"{vector}Length"):
                    yield 4 * _bounded(getattr(table, f"{vector}Length")(), most, f"{name}[{i}].{vector}")
            if name == "Weights":
                yield from _parts(table, i)


def _parts(slot: Any, index: int) -> Iterator[int]:
    parts = _bounded(slot.PartsLength(), _MAX_PARTS, f"Weights[{index}].Parts")
    yield parts
    for p in range(parts):
        part = slot.Parts(p)
        keys = _bounded(part.KeysLength(), _MAX_KEYS, f"Weights[{index}].Parts[{p}].Keys")
        yield keys
        for k in range(keys):
            yield len(part.Keys(k) or b"")


def _bounded(count: int, most: int, what: str) -> int:
    if count > most:
        raise IrError(f"{what} has {count} elements, more than the limit of {most}")
    return count
