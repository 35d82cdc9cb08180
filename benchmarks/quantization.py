#!/usr/bin/env python3
"""What weights quantised at export cost: size of the `.pte`, error against eager.

    python benchmarks/quantization.py [--sentences 100] [--types Q8_0 Q4_K ...]

Two tables. The first: the models of `quantization_models.py` with random weights; normalised squared error of the
output. The second, if its package is installed: all-MiniLM-L6-v2 with its real weights on sentences of
`assets/heldout.txt`; cosine to eager of each sentence's vector. Every row is a fresh export, run by our runtime on
one thread; "times smaller" is by the size of the `.pte` as it is (F32).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.quantization_models import classifier, mlp
from benchmarks.sentences import sentences
from executorch_ggml import GgmlQuantConfig, Program, to_edge_rewrite_and_lower
from executorch_ggml.analysis.nmse import nmse
from executorch_ggml.aot.quantization import QUANT_TYPES

PLAIN = "F32"
Arguments = tuple[torch.Tensor, ...]


def lower(program: torch.export.ExportedProgram, kind: str) -> bytes:
    """The `.pte` with weights of one type; PLAIN: as they are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quant = None if kind == PLAIN else GgmlQuantConfig(kind)
        buffer: bytes = to_edge_rewrite_and_lower(program, quant=quant).to_executorch().buffer
        return buffer


def run(buffer: bytes, calls: Sequence[Arguments]) -> list[torch.Tensor]:
    """The first output of each call."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pte"
        path.write_bytes(buffer)
        with Program(path, threads=1) as program:
            return [program(*arguments)[0] for arguments in calls]


def row(cells: Sequence[Any]) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(map(str, cells)) + " |"


def random_weights(types: Sequence[str]) -> None:
    """Prints the table of the small models."""
    made = [mlp(), classifier()]
    titles = ["MLP", "encoder"]
    print(row(["type", *(f"{what}, {t}" for t in titles for what in ("`.pte`, bytes", "times smaller", "error"))]))
    print(row(["---"] * 7), flush=True)
    plain: list[int] = []
    for kind in types:
        cells: list[Any] = [kind]
        for i, (model, x) in enumerate(made):
            buffer = lower(torch.export.export(model, (x,)), kind)
            if len(plain) == i:
                plain.append(len(buffer))
            with torch.no_grad():
                error = nmse(run(buffer, [(x,)])[0], model(x))
            cells += [len(buffer), f"{plain[i] / len(buffer):.1f}", f"{error:.1e}"]
        print(row(cells), flush=True)


def real_weights(types: Sequence[str], count: int) -> None:
    """Prints the table of all-MiniLM-L6-v2. Raises ModuleNotFoundError when its package is not installed."""
    from tokenizers import Tokenizer

    from examples.semantic_search import model_directory, sentence_encoder

    directory = model_directory()
    encoder = sentence_encoder(directory)
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.no_padding()
    ids = [torch.tensor([tokenizer.encode(text).ids]) for text in sentences(count)]
    calls = [(i, torch.ones_like(i)) for i in ids]
    with torch.no_grad():
        want = [encoder(*c) for c in calls]
    length = torch.export.Dim("t", min=2, max=256)
    example = (torch.ones(1, 16, dtype=torch.int64), torch.ones(1, 16, dtype=torch.int64))
    shapes = ({1: length}, {1: length})
    print(row(["type", "`.pte`, MB", "times smaller", "cosine, worst", "cosine, median"]))
    print(row(["---"] * 5), flush=True)
    plain = 0
    for kind in types:
        program = torch.export.export(encoder, example, dynamic_shapes=shapes, strict=False)
        buffer = lower(program, kind)
        plain = plain or len(buffer)
        found = [cosine(g, w) for g, w in zip(run(buffer, calls), want, strict=True)]
        size = f"{len(buffer) / 1e6:.1f}"
        print(row([kind, size, f"{plain / len(buffer):.1f}", f"{min(found):.5f}", f"{np.median(found):.5f}"]))
        sys.stdout.flush()


def cosine(left: torch.Tensor, right: torch.Tensor) -> float:
    """Of two vectors, in float64."""
    a, b = left.double().flatten(), right.double().flatten()
    return float(a @ b / (a.norm() * b.norm()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--types", nargs="+", choices=QUANT_TYPES, default=list(QUANT_TYPES), metavar="TYPE")
    parser.add_argument("--sentences", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    types = [PLAIN, *options.types]
    tables: list[Callable[[], None]] = [
        lambda: random_weights(types),
        lambda: real_weights(types, options.sentences),
    ]
    for table in tables:
        try:
            table()
        except ModuleNotFoundError as error:
            print(f"left out: {error}")
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
