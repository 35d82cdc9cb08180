"""A module with parameters that are made of tensors of a file, as ``torch.export`` takes it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from executorch_ggml.gguf.header import GgufHeader

from .names import Binding
from .tensors import Tensor

__all__ = ["made_of_file"]


class _Made(torch.nn.Module):
    """Calls a module with parameters made of `file`. A tensor of the file is one parameter, however many take it."""

    def __init__(self, module: torch.nn.Module, made: Mapping[str, Tensor], header: GgufHeader) -> None:
        super().__init__()
        self.module = module
        types = {name: parameter.dtype for name, parameter in module.named_parameters(remove_duplicate=False)}
        first = {made[name].key: types[name] for name in reversed(list(made))}
        self.keys = tuple(first)
        self.file = torch.nn.ParameterList(
            torch.nn.Parameter(torch.empty(tuple(header.tensors[key].shape), dtype=kind), requires_grad=False)
            for key, kind in first.items()
        )

        @functools.wraps(module.forward)  # its signature: dynamic shapes may be given by name
        def forward(*args: Any, **kwargs: Any) -> Any:
            whole = dict(zip(self.keys, self.file, strict=True))
            values = {name: tensor.apply(whole[tensor.key]).to(types[name]) for name, tensor in made.items()}
            return torch.func.functional_call(self.module, values, args, kwargs, tie_weights=False)

        self.forward = forward


@contextlib.contextmanager
def made_of_file(
    module: torch.nn.Module, binding: Binding, header: GgufHeader
) -> Iterator[tuple[torch.nn.Module, dict[str, tuple[str, ...]], str]]:
    """The module to trace, the file's tensors by its parameters, and the prefix that it gives the module's names.

    Without expressions it is the module itself. Parameters that expressions replace are empty meanwhile, or they would
    be stored in the ``.pte``.
    """
    if not binding.made:
        yield module, dict(binding.keys), ""
        return
    whole = _Made(module, binding.made, header)
    keys = {f"module.{name}": keys for name, keys in binding.keys.items() if name not in binding.made}
    keys |= {f"file.{i}": (key,) for i, key in enumerate(whole.keys)}
    replaced = []
    try:
        for name in binding.made:
            owner, _, attribute = name.rpartition(".")
            place = module.get_submodule(owner)._parameters
            replaced.append((place, attribute, place[attribute]))
            place[attribute] = torch.nn.Parameter(torch.empty(0), requires_grad=False)
        yield whole, keys, "module."
    finally:
        for place, attribute, parameter in reversed(replaced):
            place[attribute] = parameter
