"""The block types that this package writes."""

from __future__ import annotations

from executorch_ggml.ir.types import GgmlType

BLOCKS = {
    GgmlType.F32: (1, 4),
    GgmlType.F16: (1, 2),
    GgmlType.BF16: (1, 2),
    GgmlType.Q8_0: (32, 34),
    GgmlType.Q4_0: (32, 18),
    GgmlType.Q4_K: (256, 144),
    GgmlType.Q5_K: (256, 176),
    GgmlType.Q6_K: (256, 210),
}
"""Elements and bytes of a block, for the types that an embedded weight can be stored in."""


QUANT_TYPES = tuple(t.name for t in BLOCKS if t is not GgmlType.F32)
