"""ggml's types as files have them: the one table in Python that needs neither torch nor the native library.

``runtime.types`` asks the loaded library for the same facts; a test compares the two, and the ``gguf`` package.
"""

from __future__ import annotations

from executorch_ggml.ir.types import GgmlType

__all__ = ["BLOCKS", "BLOCK_SIZES", "QUANT_TYPES"]

BLOCK_SIZES: dict[GgmlType, tuple[int, int]] = {
    GgmlType.F32: (1, 4), GgmlType.F16: (1, 2), GgmlType.BF16: (1, 2), GgmlType.F64: (1, 8),
    GgmlType.I8: (1, 1), GgmlType.I16: (1, 2), GgmlType.I32: (1, 4), GgmlType.I64: (1, 8),
    GgmlType.Q4_0: (32, 18), GgmlType.Q4_1: (32, 20), GgmlType.Q5_0: (32, 22), GgmlType.Q5_1: (32, 24),
    GgmlType.Q8_0: (32, 34), GgmlType.Q8_1: (32, 36), GgmlType.Q1_0: (128, 18), GgmlType.Q2_0: (64, 18),
    GgmlType.Q2_K: (256, 84), GgmlType.Q3_K: (256, 110), GgmlType.Q4_K: (256, 144), GgmlType.Q5_K: (256, 176),
    GgmlType.Q6_K: (256, 210), GgmlType.Q8_K: (256, 292),
    GgmlType.IQ1_S: (256, 50), GgmlType.IQ1_M: (256, 56), GgmlType.IQ2_XXS: (256, 66), GgmlType.IQ2_XS: (256, 74),
    GgmlType.IQ2_S: (256, 82), GgmlType.IQ3_XXS: (256, 98), GgmlType.IQ3_S: (256, 110), GgmlType.IQ4_NL: (32, 18),
    GgmlType.IQ4_XS: (256, 136), GgmlType.TQ1_0: (256, 54), GgmlType.TQ2_0: (256, 66),
    GgmlType.MXFP4: (32, 17), GgmlType.NVFP4: (64, 36),
}  # fmt: skip
"""Elements and bytes of a block of each type."""

BLOCKS = {
    kind: BLOCK_SIZES[kind]
    for kind in (
        GgmlType.F32, GgmlType.F16, GgmlType.BF16, GgmlType.Q8_0, GgmlType.Q4_0, GgmlType.Q4_K, GgmlType.Q5_K,
        GgmlType.Q6_K,
    )
}  # fmt: skip
"""The types that this package writes, and that an embedded weight can be stored in."""

QUANT_TYPES = tuple(t.name for t in BLOCKS if t is not GgmlType.F32)
