"""One row of the zoo: lowers a model, runs it, compares it with eager."""

from __future__ import annotations

import gc
import tempfile
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.zoo_models import Inputs, ZooModel
from executorch_ggml import GgmlPartitioner, Program
from executorch_ggml.analysis.explain import recording
from executorch_ggml.analysis.nmse import nmse
from executorch_ggml.aot.explanation import Explanation


@dataclass(frozen=True)
class Lowered:
    """A `.pte` in memory and the report of how it was cut."""

    buffer: bytes
    explanation: Explanation


@dataclass(frozen=True)
class Errors:
    """Against eager, of the worst output: largest absolute difference, and squared error over squared norm."""

    max_error: float
    nmse: float


@dataclass(frozen=True)
class Row:
    """What the table says about one model. Shares are of the program at the first size."""

    name: str
    nodes: int
    delegated_nodes: int
    flops_share: float
    delegates: int
    errors: tuple[Errors, ...]
    refusals: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether one delegate holds every operator."""
        return self.delegates == 1 and self.delegated_nodes == self.nodes


def export(model: ZooModel, module: torch.nn.Module, tiny: bool, second: bool) -> torch.export.ExportedProgram:
    """The model at one size, or for both when it has dynamic shapes."""
    shapes = model.dynamic(tiny) if model.dynamic else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(module, model.example(tiny, second), dynamic_shapes=shapes, strict=False)


def lower(program: torch.export.ExportedProgram) -> Lowered:
    """An exported program through the ordinary calls."""
    from executorch.exir import to_edge_transform_and_lower

    partitioner = recording(GgmlPartitioner())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        edge = to_edge_transform_and_lower(program, partitioner=[partitioner])
        return Lowered(edge.to_executorch().buffer, partitioner.explanation)


def outputs(value: Any) -> list[torch.Tensor]:
    """The tensors of a module's result, in order."""
    return list(value) if isinstance(value, (tuple, list)) else [value]


def compare(got: list[Any], want: list[torch.Tensor]) -> Errors:
    """Raises ValueError where the number, the shapes or the types of the outputs differ."""
    if len(got) != len(want):
        raise ValueError(f"{len(got)} outputs instead of {len(want)}")
    worst = Errors(0.0, 0.0)
    for g, w in zip(got, want, strict=True):
        if g.shape != w.shape or g.dtype != w.dtype:
            raise ValueError(f"{g.dtype} {tuple(g.shape)} instead of {w.dtype} {tuple(w.shape)}")
        a, b = g.to(torch.float64), w.to(torch.float64)
        largest = float((a - b).abs().max())
        # A NaN must not look small.
        worst = Errors(*(np.maximum((worst.max_error, worst.nmse), (largest, nmse(a, b))).tolist()))
    return worst


def run(buffer: bytes, inputs: list[Inputs], threads: int = 1) -> list[list[torch.Tensor]]:
    """Outputs for each set of arguments, in one loaded program."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pte"
        path.write_bytes(buffer)
        with Program(path, threads=threads) as program:
            return [program(*arguments) for arguments in inputs]


def measure(model: ZooModel, tiny: bool, threads: int = 1) -> Row:
    """The row of one model: shares, delegates, errors at two input sizes."""
    module = model.build(tiny)
    first: Lowered | None = None
    errors = []
    sizes = (False, True)
    if model.dynamic:
        first = lower(export(model, module, tiny, second=False))
        given = [model.example(tiny, second) for second in sizes]
        results = run(first.buffer, given, threads)
        with torch.no_grad():
            errors = [compare(got, outputs(module(*x))) for got, x in zip(results, given, strict=True)]
    else:
        for second in sizes:
            lowered = lower(export(model, module, tiny, second))
            first = first or lowered
            x = model.example(tiny, second)
            (got,) = run(lowered.buffer, [x], threads)
            with torch.no_grad():
                errors.append(compare(got, outputs(module(*x))))
            del lowered
            gc.collect()
    assert first is not None
    report = first.explanation
    # Sizes are arithmetic of the runtime, and picking one of several results is no operation.
    counted = [n for n in report.nodes if n.op != "getitem" and n.shape.startswith("[")]
    left = Counter(f"{n.op}: {n.reason}" for n in counted if not n.delegated)
    return Row(
        name=model.name,
        nodes=len(counted),
        delegated_nodes=sum(n.delegated for n in counted),
        flops_share=report.flops_share,
        delegates=len(report.partitions),
        errors=tuple(errors),
        refusals=tuple(f"{count} x {title}" for title, count in left.items()),
    )
