"""What a row of the zoo is made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

Inputs = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class ZooModel:
    """One architecture in two sizes.

    Attributes:
        name: of the row.
        make: ``make(tiny)`` gives the module; its parameters may come as the constructor leaves them.
        inputs: ``inputs(tiny, second)`` gives the arguments at the first or the second input size.
        dynamic: ``dynamic(tiny)`` gives the ``dynamic_shapes`` of the one export that serves both sizes; None: an
            export for each size.
        nmse: bound of the normalised mean squared error of the worst output against eager, F32 weights.
    """

    name: str
    make: Callable[[bool], nn.Module]
    inputs: Callable[[bool, bool], Inputs]
    dynamic: Callable[[bool], Any] | None = None
    nmse: float = 1e-9

    def build(self, tiny: bool, seed: int = 0) -> nn.Module:
        """The module in inference mode, with weights that are the same each time and none of them trivial."""
        torch.manual_seed(seed)
        module = self.make(tiny).eval()
        randomise(module)
        for parameter in module.parameters():
            parameter.requires_grad_(False)
        return module

    def example(self, tiny: bool, second: bool = False, seed: int = 1) -> Inputs:
        """Arguments at one of the two sizes."""
        torch.manual_seed(seed + second)
        return self.inputs(tiny, second)


@torch.no_grad()
def randomise(module: nn.Module) -> None:
    """Weights of a size that lets every layer count: some constructors leave zeros, or scales of a millionth.

    Matrices and kernels keep the scale of what passes through; norms, biases and running statistics move off their
    defaults, so that a fold that forgets one shows.
    """
    for parameter in module.parameters():
        if parameter.dim() <= 1:
            parameter.add_(torch.randn_like(parameter) * 0.1)
        elif parameter.shape[0] == 1 or parameter.numel() == parameter.shape[0]:
            parameter.normal_(0, 0.5)  # a token, positions, a scale for each channel
        else:
            parameter.normal_(0, (parameter.shape[0] / parameter.numel()) ** 0.5)
    for part in module.modules():
        if isinstance(part, nn.Embedding):
            part.weight.normal_(0, 0.5)
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:
            part.running_mean.normal_(0, 0.1)
            assert part.running_var is not None
            part.running_var.uniform_(0.5, 1.5)


class Pick(nn.Module):
    """A Hugging Face model called with keyword arguments and reduced to the tensors of interest."""

    def __init__(self, inner: nn.Module, names: tuple[str, ...], result: str, **fixed: Any) -> None:
        super().__init__()
        self.inner, self.names, self.result, self.fixed = inner, names, result, fixed

    def forward(self, *args: torch.Tensor) -> torch.Tensor:
        out = self.inner(**dict(zip(self.names, args, strict=True)), **self.fixed)
        found: torch.Tensor = getattr(out, self.result)
        return found


def dims(*axes: dict[int, Any]) -> Callable[[bool], Any]:
    """``dynamic_shapes`` of a ``Pick``, whose forward takes ``*args``."""
    return lambda tiny: (tuple(dict(a) for a in axes),)


def replace(model: ZooModel, **changes: Any) -> ZooModel:
    """The model with other attributes."""
    return dataclasses.replace(model, **changes)
