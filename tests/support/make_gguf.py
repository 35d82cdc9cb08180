#!/usr/bin/env python3
"""Writes GGUF files of real architectures with random weights.

    python tests/support/make_gguf.py qwen3.gguf --preset qwen3-0.6b --type q8_0 --vocab ggml-vocab-qwen2.gguf
    python tests/support/make_gguf.py tiny.gguf --arch gemma3 --type q4_k_m --set layers=12

One seed gives the same F32 weights whatever the type, the splitting or the fusing of projections: each tensor is drawn
from a generator of its own, seeded by its name, and quantised in pieces of a few megabytes.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # run as a script
    sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from gguf import GGMLQuantizationType as Q  # noqa: E402

from tests.support.gguf_file import GgufFile, shard_path, split_metadata  # noqa: E402
from tests.support.gguf_layouts import STRING, U32, Kv, Layout, Shape, TensorSpec, layout_of  # noqa: E402
from tests.support.gguf_presets import PRESETS, TINY, resolve  # noqa: E402
from tests.support.gguf_types import TYPE_NAMES, FileType, byte_size, encode  # noqa: E402
from tests.support.gguf_vocab import no_tokenizer, tokenizer_metadata  # noqa: E402

_CHUNK = 1 << 22  # elements drawn and quantised at a time
_GAIN = 0.64  # 0.02 * sqrt(1024)


def _pieces(spec: TensorSpec) -> Iterator[tuple[str, int, int]]:
    """(name of the seed, rows, columns) of the independently drawn parts of a tensor, rows folded over experts."""
    columns = spec.shape[-1] if len(spec.shape) > 1 else 1
    rows = int(np.prod(spec.shape, dtype=np.int64)) // columns
    for name, count in spec.parts or ((spec.name, rows),):
        yield name, count, columns


def draw(spec: TensorSpec, seed: int) -> Iterator[np.ndarray]:
    """F32 pieces [rows, columns] of a tensor, in order.

    Matrices have the gain that Hugging Face's N(0, 0.02) has at a width of 1024, whatever the width; embeddings are
    small, so that the layers and not the current token decide the next one even when the head is tied.
    """
    if spec.values:
        yield np.asarray(spec.values, np.float32)[None, :]
        return
    for name, rows, columns in _pieces(spec):
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        scale = {"matrix": _GAIN * columns**-0.5, "embedding": 0.02, "norm": 0.1, "bias": 0.1}[spec.kind]
        step = max(1, _CHUNK // columns)
        for start in range(0, rows, step):
            part = rng.standard_normal((min(step, rows - start), columns), dtype=np.float32)
            part *= np.float32(scale)
            if spec.kind == "norm":
                part += np.float32(1.0)
            yield part if len(spec.shape) > 1 else part.reshape(1, -1)


class Repeated:
    """Encoded rows of a file for timing: each kind of matrix is drawn and encoded once, and its rows are repeated.

    Quantising billions of numbers takes minutes; which numbers they are does not matter for a time.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.made: dict[tuple[str, int, Q], bytes] = {}

    def pieces(self, spec: TensorSpec, kind: Q) -> Iterator[bytes]:
        columns = spec.shape[-1]
        if spec.values or len(spec.shape) == 1:
            yield from (encode(piece, kind) for piece in draw(spec, self.seed))
            return
        key = (spec.kind, columns, kind)
        if key not in self.made:
            some = dataclasses.replace(spec, shape=(_CHUNK // columns + 1, columns), parts=())
            self.made[key] = encode(next(draw(some, self.seed)), kind)
        data, left = self.made[key], byte_size(spec.shape, kind)
        row = byte_size((1, columns), kind)
        # Another beginning for each tensor, so that no two are alike.
        begin = zlib.crc32(spec.name.encode()) % (len(data) // row) * row
        while left:
            piece = data[begin : begin + left]
            yield piece
            left -= len(piece)
            begin = 0


def _metadata(layout: Layout, shape: Shape, ftype: FileType, vocab: Path | None, eos: int | None) -> list[Kv]:
    arch = layout.architecture
    head = [
        Kv("general.architecture", STRING, arch),
        Kv("general.type", STRING, "model"),
        Kv("general.name", STRING, f"{arch} {shape.label} random"),
        Kv("general.size_label", STRING, shape.label),
    ]
    tokens = tokenizer_metadata(vocab, shape.tokens, eos) if vocab else no_tokenizer(arch, shape.tokens)
    known = {kv.key for kv in layout.metadata}
    return [
        *head,
        *layout.metadata,
        Kv("general.file_type", U32, ftype.number),
        *(kv for kv in tokens if kv.key not in known),
        Kv("general.quantization_version", U32, 2),
    ]


def _sorted_as_quantize(tensors: list[TensorSpec]) -> list[TensorSpec]:
    """llama-quantize keeps tensors sorted by layer, then by name, those outside the layers first."""

    def key(spec: TensorSpec) -> tuple[int, str]:
        parts = spec.name.split(".")
        return (int(parts[1]) if parts[0] == "blk" else -1, spec.name)

    return sorted(tensors, key=key)


def write_gguf(
    path: str | Path,
    *,
    arch: str = "qwen3",
    size: str = "tiny",
    type: str = "f32",
    seed: int = 0,
    vocab: str | Path | None = None,
    eos: int | None = None,
    split_tensors: int = 0,
    repeat: bool = False,
    **overrides: object,
) -> list[Path]:
    """Writes a model and returns the files written (more than one when split_tensors > 0: tensors a shard).

    arch: a key of TINY; size: "tiny" or a preset name; type: a ggml type or mix in lower case ("q8_0", "q4_k_m").
    vocab: a GGUF whose tokenizer is copied. repeat: rows are repeated, which makes a file of gigabytes in seconds and
    is for times only. overrides: fields of `Shape` (layers=4, tied=False, rope="yarn", ...). Raises ValueError for an
    unknown name.
    """
    path = Path(path)
    shape = resolve(arch if size == "tiny" else "", size)
    shape = dataclasses.replace(shape, **overrides)  # type: ignore[arg-type]
    layout = layout_of(shape)
    ftype = FileType(type, shape.layers, shape.tied)
    specs = layout.tensors if ftype.converted else _sorted_as_quantize(layout.tensors)
    metadata = _metadata(layout, shape, ftype, Path(vocab) if vocab else None, eos)

    per_shard = split_tensors or len(specs)
    shards = [specs[i : i + per_shard] for i in range(0, len(specs), per_shard)]
    written = []
    repeated = Repeated(seed)
    for index, shard in enumerate(shards):
        target = path if split_tensors == 0 else shard_path(path, index, len(shards))
        kv = metadata if index == 0 else []
        if split_tensors:
            kv = kv + split_metadata(index, len(shards), len(specs))
        types = [ftype.of(spec) for spec in shard]
        infos = [(s.name, s.shape, int(t), byte_size(s.shape, t)) for s, t in zip(shard, types, strict=True)]
        file = GgufFile(target, kv, infos)
        for spec, kind in zip(shard, types, strict=True):
            for data in repeated.pieces(spec, kind) if repeat else (encode(piece, kind) for piece in draw(spec, seed)):
                file.write(data)
            file.end_tensor()
        file.close()
        written.append(target)
    return written


def _override(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    fields = {f.name: f.type for f in dataclasses.fields(Shape)}
    if name not in fields:
        raise argparse.ArgumentTypeError(f"no field {name!r}; fields: {', '.join(fields)}")
    if fields[name] == "bool":
        return name, value.lower() in ("1", "true", "yes")
    return name, {"int": int, "float": float, "str": str}[str(fields[name])](value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--preset", choices=sorted(PRESETS), help="a real model's sizes")
    parser.add_argument("--arch", choices=sorted(TINY), default="qwen3", help="architecture of a tiny model")
    parser.add_argument("--type", choices=TYPE_NAMES, default="q8_0")
    parser.add_argument("--vocab", type=Path, help="a GGUF whose tokenizer is copied")
    parser.add_argument("--eos", type=int, help="end-of-sequence id, instead of the vocabulary file's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split-tensors", type=int, default=0, metavar="N", help="split, N tensors a shard")
    parser.add_argument("--repeat", action="store_true", help="repeated rows: seconds for gigabytes, for times only")
    parser.add_argument("--set", type=_override, action="append", default=[], metavar="FIELD=VALUE")
    args = parser.parse_args()
    start = time.monotonic()
    files = write_gguf(
        args.path,
        arch=args.arch,
        size=args.preset or "tiny",
        type=args.type,
        seed=args.seed,
        vocab=args.vocab,
        eos=args.eos,
        split_tensors=args.split_tensors,
        repeat=args.repeat,
        **dict(args.set),
    )
    size = sum(f.stat().st_size for f in files)
    print(f"{', '.join(map(str, files))}: {size:,} bytes in {time.monotonic() - start:.1f} s")


if __name__ == "__main__":
    main()
