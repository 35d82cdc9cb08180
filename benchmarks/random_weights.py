"""Random weights of any size as a GGUF in seconds, for measuring: the same few million numbers over and over.

Matrices have unit gain, so that activations stay finite through any number of layers; norms and scales are one, biases
zero. Tensors begin at different places of the block, so that no two are alike.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from executorch_ggml.gguf.types import BLOCKS
from executorch_ggml.gguf.writer import Layout, TensorSource, encode, layout_of
from executorch_ggml.ir.types import GgmlType

_ELEMENTS = 1 << 22
_PIECE = 64 << 20
"""Bytes that a thread writes at a time."""

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Kept = tuple[str, ...]


def sources(shapes: Mapping[str, Sequence[int]], kept: Mapping[str, Any]) -> Iterable[TensorSource]:
    """What `write` takes; kept: tensors whose numbers matter, as arrays."""
    for name, shape in shapes.items():
        yield TensorSource(name, tuple(shape), (lambda a: lambda first, last: a[first:last])(kept.get(name)))


def write(
    shapes: Mapping[str, Sequence[int]], path: Path, dtype: str, *, exact: Kept = (), kept: Mapping[str, Any] = {}
) -> int:
    """Writes the file with all processors, complete or not at all; returns its size in bytes."""
    layout = layout_of(sources(shapes, kept), dtype, exact, {"general.name": "random"})
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file, ThreadPoolExecutor(os.cpu_count()) as pool:
        file.write(layout.header)
        file.truncate(layout.size)
        file.flush()
        for task in [pool.submit(_write, file.fileno(), *job) for job in _jobs(layout, kept)]:
            task.result()
    partial.rename(path)
    return layout.size


def _jobs(layout: Layout, kept: Mapping[str, Any]) -> Iterable[tuple[int, Bytes, int, int]]:
    """(place in the file, repeated bytes, where in them to begin, how many to write)"""
    block = np.random.default_rng(0).standard_normal(_ELEMENTS, dtype=np.float32)
    made: dict[tuple[int, GgmlType], Bytes] = {}
    for index, (tensor, kind, place, size) in enumerate(layout.tensors):
        if tensor.name in kept:
            data = encode(np.ascontiguousarray(kept[tensor.name], np.float32), kind).view(np.uint8).reshape(-1)
        elif len(tensor.shape) == 1:
            value = 0.0 if tensor.name.endswith("bias") else 1.0
            data = encode(np.full(tensor.shape, value, np.float32), kind).view(np.uint8).reshape(-1)
        else:
            fan = prod(tensor.shape[1:])
            if (fan, kind) not in made:
                scaled = (block * np.float32(fan**-0.5)).reshape(-1, 1024)
                made[fan, kind] = encode(scaled, kind).view(np.uint8).reshape(-1)
            data = made[fan, kind]
        unit = BLOCKS[kind][1]
        begin = 0 if size == len(data) else index * 7919 * unit % (len(data) // unit * unit)
        for at in range(0, size, _PIECE):
            yield place + at, data, (begin + at) % len(data), min(_PIECE, size - at)


def _write(descriptor: int, place: int, data: Bytes, begin: int, count: int) -> None:
    while count:
        done = os.pwrite(descriptor, data[begin : begin + count], place)
        place, count, begin = place + done, count - done, (begin + done) % len(data)
