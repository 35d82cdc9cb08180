"""Which ggml type each tensor of a file gets, and turning F32 rows into that type.

Float and 32-block types go through the `gguf` package (numpy); K- and IQ-quantisations, which only ggml implements,
through the library of this repository (`etggml_quantize`).
"""

from __future__ import annotations

import numpy as np
from gguf import GGML_QUANT_SIZES, LlamaFileType, quants
from gguf import GGMLQuantizationType as Q

from tests.support.gguf_layouts import TensorSpec

_NUMPY = {Q.F32, Q.F16, Q.BF16, Q.Q8_0, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1}

# A quantisation whose block does not divide the row is replaced as llama-quantize does.
_FALLBACK = {
    Q.Q2_K: Q.Q4_0, Q.Q3_K: Q.Q4_0, Q.Q4_K: Q.Q5_0, Q.Q5_K: Q.Q5_1, Q.Q6_K: Q.Q8_0, Q.TQ1_0: Q.Q4_0, Q.TQ2_0: Q.Q4_0,
    Q.IQ1_S: Q.IQ4_NL, Q.IQ1_M: Q.IQ4_NL, Q.IQ2_XXS: Q.IQ4_NL, Q.IQ2_XS: Q.IQ4_NL, Q.IQ2_S: Q.IQ4_NL,
    Q.IQ3_XXS: Q.IQ4_NL, Q.IQ3_S: Q.IQ4_NL, Q.IQ4_XS: Q.IQ4_NL,
}  # fmt: skip

# Types that llama-quantize writes only with an importance matrix: every column then counts the same here.
_NEEDS_IMPORTANCE = {Q.IQ1_S, Q.IQ1_M, Q.IQ2_XXS, Q.IQ2_XS}

_MIXES = {"q4_k_m": (Q.Q4_K, LlamaFileType.MOSTLY_Q4_K_M), "q5_k_m": (Q.Q5_K, LlamaFileType.MOSTLY_Q5_K_M)}

_FILE_TYPES = {
    Q.F32: LlamaFileType.ALL_F32, Q.F16: LlamaFileType.MOSTLY_F16, Q.BF16: LlamaFileType.MOSTLY_BF16,
    Q.Q4_0: LlamaFileType.MOSTLY_Q4_0, Q.Q4_1: LlamaFileType.MOSTLY_Q4_1, Q.Q5_0: LlamaFileType.MOSTLY_Q5_0,
    Q.Q5_1: LlamaFileType.MOSTLY_Q5_1, Q.Q8_0: LlamaFileType.MOSTLY_Q8_0, Q.Q2_K: LlamaFileType.MOSTLY_Q2_K,
    Q.Q3_K: LlamaFileType.MOSTLY_Q3_K_M, Q.Q4_K: LlamaFileType.MOSTLY_Q4_K_S, Q.Q5_K: LlamaFileType.MOSTLY_Q5_K_S,
    Q.Q6_K: LlamaFileType.MOSTLY_Q6_K, Q.IQ4_NL: LlamaFileType.MOSTLY_IQ4_NL, Q.IQ4_XS: LlamaFileType.MOSTLY_IQ4_XS,
    Q.IQ3_S: LlamaFileType.MOSTLY_IQ3_S, Q.IQ3_XXS: LlamaFileType.MOSTLY_IQ3_XXS, Q.IQ2_S: LlamaFileType.MOSTLY_IQ2_S,
    Q.IQ2_XS: LlamaFileType.MOSTLY_IQ2_XS, Q.IQ2_XXS: LlamaFileType.MOSTLY_IQ2_XXS,
    Q.IQ1_S: LlamaFileType.MOSTLY_IQ1_S, Q.IQ1_M: LlamaFileType.MOSTLY_IQ1_M,
    Q.TQ1_0: LlamaFileType.MOSTLY_TQ1_0, Q.TQ2_0: LlamaFileType.MOSTLY_TQ2_0,
}  # fmt: skip

TYPE_NAMES = tuple(sorted([t.name.lower() for t in _FILE_TYPES] + list(_MIXES)))


class FileType:
    """The recipe behind a name such as "q8_0" or "q4_k_m"."""

    def __init__(self, name: str, layers: int, tied: bool) -> None:
        if name not in TYPE_NAMES:
            raise ValueError(f"unknown type {name!r}; known: {', '.join(TYPE_NAMES)}")
        self.name, self.layers, self.tied = name, layers, tied
        self.base, ftype = _MIXES[name] if name in _MIXES else (Q[name.upper()], _FILE_TYPES[Q[name.upper()]])
        self.number = int(ftype)

    @property
    def converted(self) -> bool:
        """Whether convert_hf_to_gguf.py writes this type itself; the others come from llama-quantize, which sorts."""
        return self.base in (Q.F32, Q.F16, Q.BF16, Q.Q8_0)

    def _more_bits(self, layer: int) -> bool:
        eighth = self.layers // 8
        return layer < eighth or layer >= 7 * self.layers // 8 or (layer - eighth) % 3 == 2

    def of(self, spec: TensorSpec) -> Q:
        """The type of one tensor. 1-D tensors, convolutions, norms and routers stay F32.

        Mixes spend bits as llama-quantize does.
        """
        short = spec.shape[-1] < 32  # no block fits: the taps of a convolution
        if len(spec.shape) == 1 or short or spec.kind in ("norm", "bias", "factors") or "ffn_gate_inp" in spec.name:
            return Q.F32
        chosen = self.base
        if self.name in _MIXES:
            head = spec.name == "output.weight" or (self.tied and spec.name == "token_embd.weight")
            sensitive = any(part in spec.name for part in ("attn_v.", "ffn_down"))
            if head or (sensitive and self._more_bits(int(spec.name.split(".")[1]))):
                chosen = Q.Q6_K
        while spec.shape[-1] % GGML_QUANT_SIZES[chosen][0]:
            chosen = _FALLBACK.get(chosen, Q.F16)
        return chosen


def byte_size(shape: tuple[int, ...], kind: Q) -> int:
    block, size = GGML_QUANT_SIZES[kind]
    return int(np.prod(shape, dtype=np.int64)) // block * size


def encode(rows: np.ndarray, kind: Q) -> bytes:
    """F32 rows [n, k] as `kind`."""
    if kind in _NUMPY:
        return np.ascontiguousarray(quants.quantize(rows, kind)).tobytes()
    from executorch_ggml.runtime.types import quantize

    importance = np.ones(rows.shape[-1], np.float32) if kind in _NEEDS_IMPORTANCE else None
    return quantize(rows, int(kind), importance).tobytes()
