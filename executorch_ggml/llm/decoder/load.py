"""From a GGUF's metadata to the configuration of its decoder."""

from __future__ import annotations

import dataclasses
import difflib

from executorch_ggml.errors import FormatError, InvalidArgumentError, UnsupportedError
from executorch_ggml.gguf.header import GgufHeader, Value

from .config import ModelConfig
from .families import ARCHITECTURES
from .family import Family
from .metadata import MAX_FLOAT, Metadata

__all__ = ["family_of", "load_config"]

# Keys that change the arithmetic, with the value that changes nothing. They are refused unless the family reads them.
_CHANGES: dict[str, Value | None] = {
    "attention.causal": True,
    "attention.clamp_kqv": 0.0,
    "attention.max_alibi_bias": 0.0,
    "attention.key_length_swa": None,
    "attention.value_length_swa": None,
    "attention.output_scale": 1.0,
    "attention.shared_kv_layers": 0,
    "attention.temperature_scale": 0.0,
    "attn_logit_softcapping": 0.0,
    "embedding_scale": 1.0,
    "expert_count": 0,
    "expert_group_count": 0,
    "expert_gating_func": 1,
    "expert_shared_count": 0,
    "expert_shared_feed_forward_length": 0,
    "expert_weights_norm": True,
    "expert_weights_scale": 1.0,
    "final_logit_softcapping": 0.0,
    "leading_dense_block_count": 0,
    "logit_scale": 1.0,
    "nextn_predict_layers": 0,
    "residual_scale": 1.0,
    "rope.dimension_count_swa": None,
    "rope.dimension_sections": None,
    "rope.scaling.alpha": 0.0,
    "use_parallel_residual": False,
}


def family_of(header: GgufHeader) -> Family:
    """The family of a GGUF's architecture. Raises FormatError (no architecture) and UnsupportedError (unknown)."""
    name = Metadata(header).architecture
    if name not in ARCHITECTURES:
        near = difflib.get_close_matches(name, ARCHITECTURES, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise UnsupportedError(
            f"{header.path}: architecture {name!r} is not supported{hint}; supported: {', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[name]


def load_config(header: GgufHeader, max_seq_len: int) -> ModelConfig:
    """Reads and checks everything the decoder needs.

    max_seq_len: positions that the states hold, at least 1.
    Raises UnsupportedError (architecture, or a feature of it), FormatError (a key missing or impossible, named),
    InvalidArgumentError (max_seq_len).
    """
    if max_seq_len < 1:
        raise InvalidArgumentError(f"max_seq_len must be at least 1, got {max_seq_len}")
    family, meta = family_of(header), Metadata(header)
    config = family.config(meta, max_seq_len)
    meta.refuse_unread(_CHANGES)
    _check_floats(header, config)
    return dataclasses.replace(config, metadata=dict(meta.used))


def _check_floats(header: GgufHeader, config: ModelConfig) -> None:
    """A number computed from several values must fit float32 as each of them does."""
    for part in (config, *{rope for rope in config.rope if rope is not None}):
        for name, value in vars(part).items():
            if isinstance(value, float) and not abs(value) <= MAX_FLOAT:
                raise FormatError(f"{header.path}: the metadata make {name} {value}, which float32 cannot hold")
