#!/usr/bin/env python3
"""A GGUF with its matrices in another type: python benchmarks/requantize.py in.gguf out.gguf q4_k

Metadata and vectors are copied as they are; matrices go through float32. The simplest recipe: every matrix alike, by
ggml's own quantisers.
"""

from __future__ import annotations

import sys
from pathlib import Path

import gguf

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # run as a script
    sys.path.insert(0, str(ROOT))

from executorch_ggml.runtime.types import quantize  # noqa: E402

_DERIVED = ("GGUF.", "general.architecture")  # written by GGUFWriter itself


def requantize(source: str | Path, target: str | Path, type: str) -> Path:
    """Writes `target` and returns it. type: a ggml type in lower case whose block divides every row."""
    reader = gguf.GGUFReader(source)
    kind = gguf.GGMLQuantizationType[type.upper()]
    writer = gguf.GGUFWriter(target, str(reader.fields["general.architecture"].contents()))
    for key, field in reader.fields.items():
        if key.startswith(_DERIVED):
            continue
        if field.types[0] == gguf.GGUFValueType.ARRAY:
            writer.add_array(key, field.contents())
        else:
            writer.add_key_value(key, field.contents(), field.types[0])
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        if values.ndim == 1:
            writer.add_tensor(tensor.name, values)
        elif kind == gguf.GGMLQuantizationType.F32:
            writer.add_tensor(tensor.name, values.astype("float32"))
        else:
            writer.add_tensor(tensor.name, quantize(values, type), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Path(target)


if __name__ == "__main__":
    requantize(*sys.argv[1:4])
