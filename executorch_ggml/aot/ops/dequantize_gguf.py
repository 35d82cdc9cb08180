"""Weights that come already in ggml's blocks: `torchao::dequantize_gguf`.

ExecuTorch's own GGUF loader (``executorch.extension.llm.export.gguf``) keeps a tensor as the bytes of the file and
exports ``torchao::dequantize_gguf(bytes, type, dtype)`` in front of each ``linear`` or ``embedding``. ggml multiplies
by these bytes directly. They are stored unchanged, and nothing is dequantised or quantised again.
"""

from __future__ import annotations

from executorch_ggml.aot.registry import NodeView, Unsupported, register
from executorch_ggml.gguf.types import BLOCKS
from executorch_ggml.ir.builder import Builder, GgmlType, Kind, Value


@register("torchao::dequantize_gguf")
def dequantize_gguf(b: Builder, n: NodeView) -> Value:
    """uint8 [rows, bytes of a row] in the blocks of a type -> the matrix [rows, elements] that they stand for."""
    n.require_float()
    packed = n.tensor("weight")
    name = n.text("ggml_type").upper()
    if packed.kind is not Kind.WEIGHT or packed.swapped:
        raise Unsupported("blocks that are not a parameter or a buffer as it is")
    if name not in GgmlType.__members__ or GgmlType[name] not in BLOCKS:
        raise Unsupported(f"blocks of type {name.lower()}")
    kind = GgmlType[name]
    elements, size = BLOCKS[kind]
    rows, row_bytes = packed.shape
    if row_bytes % size:
        raise Unsupported(f"rows of {row_bytes} bytes, no multiple of {name.lower()}'s blocks of {size}")
    return b.packed_weight(packed, (rows, row_bytes // size * elements), n.out.dtype, kind)
