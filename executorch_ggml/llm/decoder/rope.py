"""RoPE as a GGUF describes it: plain, linearly scaled, YaRN, or divided by a tensor of factors."""

from __future__ import annotations

import math

from executorch_ggml.errors import FormatError, UnsupportedError

from .config import RopeConfig
from .metadata import Metadata

__all__ = ["read_rope"]


def _factors(meta: Metadata, max_seq_len: int, original: int) -> str | None:
    """The tensor of frequency divisors: one for every context, or the long or short one of LongRoPE."""
    if "rope_freqs.weight" in meta.header.tensors:
        return "rope_freqs.weight"
    name = "rope_factors_long.weight" if max_seq_len > original else "rope_factors_short.weight"
    return name if name in meta.header.tensors else None


def read_rope(meta: Metadata, mode: int, head_dim: int, max_seq_len: int, context: int) -> RopeConfig:
    """The rotation that the metadata describe.

    YaRN's magnitude is 0.1 ln(factor) + 1 (arXiv 2309.00071, eq. 22). The operator applies that itself when ext_factor
    is not 0, so attn_factor holds only the factor on top of it.

    Raises FormatError (an odd number of dimensions) and UnsupportedError (an unknown type of scaling).
    """
    kind = meta.string("rope.scaling.type", "linear")
    factor = meta.number("rope.scaling.factor", 1.0, positive=False)
    factor = factor if factor > 0 and kind != "none" else 1.0
    original = meta.integer("rope.scaling.original_context_length", context)
    dims = meta.integer("rope.dimension_count", head_dim, minimum=2, maximum=head_dim)
    if dims % 2:
        raise FormatError(f"{meta.header.path}: {meta.architecture}.rope.dimension_count is {dims}, which is odd")
    if kind not in ("none", "linear", "yarn", "longrope"):
        raise UnsupportedError(f"{meta.header.path}: {meta.architecture}.rope.scaling.type {kind!r} is not supported")
    attn = meta.number("rope.scaling.attn_factor", 1.0)
    ext = 0.0
    if kind == "yarn":
        ext = meta.number("rope.scaling.yarn_ext_factor", 1.0, positive=False)
        if ext < 0:
            ext = 1.0  # negative stands for "not set"
        built_in = 1.0 + 0.1 * math.log(factor) if ext else 1.0
        wanted = meta.number("rope.scaling.yarn_attn_factor", built_in)
        log_mul = meta.number("rope.scaling.yarn_log_multiplier", 0.0, positive=False)
        if log_mul and factor > 1:
            wanted = built_in / (1.0 + 0.1 * log_mul * math.log(factor))
        attn *= wanted / built_in
    return RopeConfig(
        mode=mode,
        dims=dims,
        base=meta.number("rope.freq_base", 10000.0),
        scale=1.0 / factor,
        ext_factor=ext,
        attn_factor=attn,
        beta_fast=meta.number("rope.scaling.yarn_beta_fast", 32.0) if ext else 32.0,
        beta_slow=meta.number("rope.scaling.yarn_beta_slow", 1.0) if ext else 1.0,
        original_context=original,
        factors=_factors(meta, max_seq_len, original),
    )
