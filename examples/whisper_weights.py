"""Whisper's weights out of a CTranslate2 model file, under the names of `whisper.py`.

The format (version 6): a specification's name and revision, then variables of name, shape, type and data, then aliases.
Queries, keys and values of a self attention are one matrix there, keys and values of a cross attention as well.
"""

from __future__ import annotations

import re
import struct
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray[Any, Any]]

_FLOAT = {0: np.float32, 4: np.float16}
_NORM = {"gamma": "weight", "beta": "bias"}
_OUTSIDE = {
    "encoder/conv1/": "conv1.",
    "encoder/conv2/": "conv2.",
    "encoder/layer_norm/": "encoder_norm.",
    "encoder/position_encodings/encodings": "frame_positions",
    "decoder/embeddings/": "tokens.",
    "decoder/layer_norm/": "decoder_norm.",
    "decoder/position_encodings/encodings": "token_positions",
}


def variables(data: bytes) -> Arrays:
    """The floating-point variables of a file, as float32. Raises ValueError for another version or a short file."""
    at = 0

    def take(layout: str) -> Any:
        nonlocal at
        (value,) = struct.unpack_from("<" + layout, data, at)
        at += struct.calcsize("<" + layout)
        return value

    def text() -> str:
        nonlocal at
        length = take("H")
        at += length
        return data[at - length : at].rstrip(b"\0").decode()

    found: Arrays = {}
    try:
        version = take("I")
        if version != 6:
            raise ValueError(f"a CTranslate2 model of version {version}, not 6")
        text()
        take("I")
        for _ in range(take("I")):
            name = text()
            shape = [take("I") for _ in range(take("B"))]
            kind, size = take("B"), take("I")
            if shape and kind in _FLOAT:
                array = np.frombuffer(data, _FLOAT[kind], int(np.prod(shape)), at)
                found[name] = array.reshape(shape).astype(np.float32)
            at += size
    except struct.error as error:
        raise ValueError(f"the model file ends at {len(data):,} bytes, before its variables do") from error
    return found


def read_model(data: bytes) -> Arrays:
    """Parameters of `whisper.whisper()` by name."""
    return {new: array for name, value in variables(data).items() for new, array in _renamed(name, value)}


def _renamed(name: str, value: np.ndarray[Any, Any]) -> list[tuple[str, np.ndarray[Any, Any]]]:
    for prefix, new in _OUTSIDE.items():
        if name.startswith(prefix):
            last = name[len(prefix) :]
            return [(new + _NORM.get(last, last), value)]
    match = re.fullmatch(r"(encoder|decoder)/layer_(\d+)/(self_attention|attention|ffn)/(\w+)/(\w+)", name)
    if match is None:
        return []
    side, index, block, part, field = match.groups()
    layer = f"{side}.{index}."
    if block == "ffn":
        return [
            (f"{layer}feed.{ {'layer_norm': 0, 'linear_0': 1, 'linear_1': 3}[part] }.{_NORM.get(field, field)}", value)
        ]
    norm, attention = ("norm", "attention") if block == "self_attention" else ("cross_norm", "cross")
    if part == "layer_norm":
        return [(f"{layer}{norm}.{_NORM[field]}", value)]
    parts = {
        ("self_attention", "linear_0"): "qkv",
        ("self_attention", "linear_1"): "o",
        ("attention", "linear_0"): "q",
        ("attention", "linear_1"): "kv",
        ("attention", "linear_2"): "o",
    }[block, part]
    pieces = np.split(value, len(parts))
    names = {"q": "q", "k": "k", "v": "v", "o": "out"}
    # The file has a bias of zeros for the keys, which have none.
    return [
        (f"{layer}{attention}.{names[p]}.{field}", piece)
        for p, piece in zip(parts, pieces, strict=True)
        if (p, field) != ("k", "bias")
    ]
