"""Fills a decoder with a GGUF's weights, dequantised to float32: the eager reference every other result is held to.

Dequantisation is that of the `gguf` package (numpy), on purpose not ggml's own code.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator

import torch

from executorch_ggml.errors import BindError, UnsupportedError
from executorch_ggml.gguf.header import GgufHeader, read_header

from .decoder import TIED_HEAD, Decoder

__all__ = ["dequantized", "load_dequantized"]


def dequantized(header: GgufHeader, names: Collection[str]) -> Iterator[tuple[str, torch.Tensor]]:
    """(name, F32 tensor in torch shape) of each tensor of a file that is among `names`, one at a time.

    Raises UnsupportedError without the `gguf` package, and for a type that it cannot decode.
    """
    try:
        import gguf
    except ImportError as error:
        raise UnsupportedError("loading weights into eager torch needs the 'gguf' package: pip install gguf") from error
    for path in header.paths:
        for tensor in gguf.GGUFReader(path).tensors:
            if tensor.name not in names:
                continue
            try:
                data = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype("float32", copy=True)
            except NotImplementedError as error:
                raise UnsupportedError(f"{path}: the gguf package cannot decode {tensor.name!r}: {error}") from error
            yield tensor.name, torch.from_numpy(data).reshape(header.tensors[tensor.name].shape)


def load_dequantized(model: Decoder, gguf: str | os.PathLike[str] | GgufHeader) -> Decoder:
    """Replaces the meta parameters of `model` by the GGUF's weights in float32, and its states by zeros on the CPU.

    A tied head shares the memory of the embedding. Returns the model.
    Raises BindError when a parameter has no tensor or another shape, UnsupportedError without the `gguf` package.
    """
    header = gguf if isinstance(gguf, GgufHeader) else read_header(gguf)
    wanted: dict[str, list[str]] = {}
    for name, _ in model.named_parameters():
        keys = [key for key in TIED_HEAD.get(name, [name]) if key in header.tensors]
        if not keys:
            raise BindError(f"{header.path}: tensor {name!r} is missing")
        wanted.setdefault(keys[0], []).append(name)
    for key, tensor in dequantized(header, wanted):
        for name in wanted[key]:
            module_name, _, attribute = name.rpartition(".")
            module = model.get_submodule(module_name)
            if getattr(module, attribute).shape != tensor.shape:
                raise BindError(f"{header.path}: {key!r} has shape {tuple(tensor.shape)}, not that of {name!r}")
            setattr(module, attribute, torch.nn.Parameter(tensor, requires_grad=False))
    for name, buffer in list(model.named_buffers()):
        module_name, _, attribute = name.rpartition(".")
        model.get_submodule(module_name).register_buffer(attribute, torch.zeros(buffer.shape))
    return model
