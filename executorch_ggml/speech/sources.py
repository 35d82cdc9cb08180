"""Where weights come from when they are written as a stream: tensors of a checkpoint, or a random number generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from executorch_ggml.errors import BindError
from executorch_ggml.gguf.writer import TensorSource

from .checkpoint import missing_and_extra

__all__ = ["lazy_sources", "random_sources"]


def lazy_sources(where: str, model: nn.Module, weights: Mapping[str, Callable[[], Tensor]]) -> Iterator[TensorSource]:
    """The parameters of a model, each read when its turn comes.

    Raises BindError when names differ from the model's, or (on reading) a shape does.
    """
    wanted = dict(model.named_parameters())
    missing_and_extra(where, wanted, weights)
    for name, parameter in wanted.items():
        yield TensorSource(name, tuple(parameter.shape), _Reader(where, name, tuple(parameter.shape), weights[name]))


class _Reader:
    """Rows of a tensor that is held from its first row to its last."""

    def __init__(self, where: str, name: str, shape: tuple[int, ...], load: Callable[[], Tensor]) -> None:
        self.where, self.name, self.shape, self.load = where, name, shape, load
        self.tensor: Tensor | None = None

    def __call__(self, first: int, last: int) -> npt.NDArray[np.float32]:
        if self.tensor is None:
            self.tensor = self.load()
            if tuple(self.tensor.shape) != self.shape:
                raise BindError(
                    f"{self.where}: {self.name} has shape {list(self.tensor.shape)}, its configuration wants "
                    f"{list(self.shape)}"
                )
        rows: npt.NDArray[np.float32] = self.tensor[first:last].to(torch.float32).numpy()
        if last == self.shape[0]:
            self.tensor = None
        return rows


def random_sources(model: nn.Module, seed: int = 0) -> Iterator[TensorSource]:
    """Weights as if freshly initialised, for measuring: matrices of unit gain, norms and scales of one, biases of zero.

    The model may lie on the meta device.
    """
    for index, (name, parameter) in enumerate(model.named_parameters()):
        shape = tuple(parameter.shape)
        yield TensorSource(name, shape, _Random(shape, name, seed * 100_003 + index))


class _Random:
    def __init__(self, shape: tuple[int, ...], name: str, seed: int) -> None:
        self.shape, self.name, self.seed = shape, name, seed

    def __call__(self, first: int, last: int) -> npt.NDArray[np.float32]:
        shape = (last - first, *self.shape[1:])
        if len(shape) == 1:
            return np.full(shape, 0.0 if self.name.endswith("bias") else 1.0, np.float32)
        rng = np.random.default_rng((self.seed, first))
        scale = float(np.prod(self.shape[1:])) ** -0.5
        values: npt.NDArray[np.float32] = rng.standard_normal(shape, dtype=np.float32)
        values *= np.float32(scale)
        return values
