"""What the shared fixtures of conftest.py hand out, and how it is made."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


def lower_to_file(
    module: Any, inputs: tuple[Any, ...], path: Path, *, dynamic: Any = None, weights: str = "auto"
) -> Path:
    """torch.export -> GgmlPartitioner -> `.pte`."""
    import torch
    from executorch.exir import to_edge_transform_and_lower

    from executorch_ggml import GgmlPartitioner

    exported = torch.export.export(module.eval(), inputs, dynamic_shapes=dynamic)
    edge = to_edge_transform_and_lower(exported, partitioner=[GgmlPartitioner(weights=weights)])
    path.write_bytes(edge.to_executorch().buffer)
    return path


@dataclass(frozen=True)
class Mlp:
    """fc2(relu(fc1(x))): x float32 [1..16, 8] -> [1..16, 4]."""

    pte: Path
    """with its weights"""
    bare_pte: Path
    """without: it wants the GGUF"""
    gguf: Path
    weights: dict[str, Array]

    def reference(self, x: Array) -> Array:
        w = {name: value.astype(np.float64) for name, value in self.weights.items()}
        hidden = np.maximum(x @ w["fc1.weight"].T + w["fc1.bias"], 0)
        return (hidden @ w["fc2.weight"].T + w["fc2.bias"]).astype(np.float32)


def write_mlp_gguf(path: Path, weights: dict[str, Array]) -> Path:
    import gguf

    writer = gguf.GGUFWriter(path, "test-mlp")
    for name, value in weights.items():
        writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@dataclass(frozen=True)
class TinyLlm:
    """A qwen3 of a few thousand weights: (input_ids int64 [1, T], cache_pos int64 [T]) -> logits [1, 1, vocab]."""

    pte: Path
    gguf: Path
    max_seq_len: int
    vocab: int


def child(*arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
    """Runs the interpreter in a process of its own, with the package that this process tests."""
    import executorch_ggml

    package = str(Path(executorch_ggml.__file__).parents[1])
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "PYTHONPATH": package},
    )
