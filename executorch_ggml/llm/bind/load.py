"""A GGUF's weights in any module, dequantised: the eager side of a comparison."""

from __future__ import annotations

import copy
import os
from collections.abc import Collection

import torch

from executorch_ggml.errors import InvalidArgumentError
from executorch_ggml.gguf.header import read_header
from executorch_ggml.llm.decoder.weights import dequantized

from .names import Names, bind

__all__ = ["load_gguf"]


def load_gguf(
    module: torch.nn.Module,
    gguf: str | os.PathLike[str],
    *,
    names: Names = "gguf",
    own: Collection[str] = (),
) -> torch.nn.Module:
    """A copy of a module with a GGUF's weights in float32, to run in eager torch or to compare with.

    Parameters that share memory share it in the copy.

    Args:
        module: its parameters may be on the meta device; it is not changed.
        gguf: the file; all of it is read, which takes four bytes of memory a weight.
        names, own: as in ``export_with_gguf``.

    Raises:
        BindError: parameters without a tensor in the file, or of another shape.
        InvalidArgumentError: a buffer on the meta device, which has no data.
        FileError, FormatError, UnsupportedError: a file that cannot be read, or a type that ``gguf`` cannot decode.
    """
    header = read_header(gguf)
    binding = bind(module, header, names, own)
    empty = sorted(name for name, buffer in module.named_buffers() if buffer.device.type == "meta")
    if empty:
        raise InvalidArgumentError(
            f"{', '.join(empty[:8])}: a buffer on the meta device has no data; make the module on the CPU"
        )
    result = copy.deepcopy(module)
    slots: dict[str, list[str]] = {}
    for name, keys in binding.keys.items():
        slots.setdefault(next(key for key in keys if key in header.tensors), []).append(name)
    for key, tensor in dequantized(header, slots):
        parameter = torch.nn.Parameter(tensor, requires_grad=False)
        for name in slots[key]:
            owner, _, attribute = name.rpartition(".")
            part = result.get_submodule(owner)
            shape = getattr(part, attribute).shape
            if name in binding.made:
                value = binding.made[name].apply(tensor).reshape(shape)
                part._parameters[attribute] = torch.nn.Parameter(value, requires_grad=False)
                continue
            part._parameters[attribute] = (
                parameter
                if parameter.shape == shape
                else torch.nn.Parameter(tensor.reshape(shape), requires_grad=False)
            )
    return result.eval()
