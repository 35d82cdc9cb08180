#!/usr/bin/env python3
"""Writes the `.pte` files of the models that are measured on a GPU: some 100 kB each, to be carried there.

    python benchmarks/cuda/export_models.py DIR [--models qwen3-0.6b ...]

Exporting reads the header of a GGUF only, so a file of the right length with nothing behind its header is enough.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.cuda.models import MODELS, REAL, Model
from tests.support import make_gguf
from tests.support.gguf_file import ALIGNMENT, GgufFile


def write_hollow(path: Path, model: Model, kind: str) -> None:
    """The file that `write_gguf` writes, with a hole where the weights are."""
    shape = make_gguf.resolve(model.arch, model.size)
    if model.layers:
        shape = dataclasses.replace(shape, layers=model.layers)
    layout = make_gguf.layout_of(shape)
    types = make_gguf.FileType(kind, shape.layers, shape.tied)
    metadata = make_gguf._metadata(layout, shape, types, None, None)
    infos = []
    for spec in layout.tensors:
        size = make_gguf.byte_size(spec.shape, types.of(spec))
        infos.append((spec.name, spec.shape, int(types.of(spec)), size))
    GgufFile(path, metadata, infos).close()
    padded = sum(-(-size // ALIGNMENT) * ALIGNMENT for *_, size in infos)
    os.truncate(path, path.stat().st_size + padded)


def main() -> None:
    from executorch_ggml.llm.export import GGUFExportConfig, export_gguf_to_pte

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--models", nargs="+", default=list(REAL), choices=list(MODELS))
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models:
            model = MODELS[name]
            header = Path(folder) / "header.gguf"
            write_hollow(header, model, model.types[0])
            config = GGUFExportConfig(max_seq_len=model.max_seq_len)
            result = export_gguf_to_pte(header, model.pte(options.directory), config)
            print(f"{result.path}: {result.bytes:,} bytes, {result.seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
