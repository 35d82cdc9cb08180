"""The parameters of a decoder: the numbers of a GGUF's metadata in one dataclass."""

from __future__ import annotations

from dataclasses import dataclass

from executorch_ggml.gguf.header import Value

__all__ = ["ROPE_NEOX", "ROPE_NORM", "ModelConfig", "RopeConfig"]

ROPE_NORM = 0  # rotates the pairs (2i, 2i + 1)
ROPE_NEOX = 2  # rotates the pairs (i, i + dims / 2)


@dataclass(frozen=True)
class RopeConfig:
    """Arguments of the rope operator, with ggml's meaning. factors: name of the tensor of frequency divisors."""

    mode: int
    dims: int
    base: float
    scale: float = 1.0
    ext_factor: float = 0.0
    attn_factor: float = 1.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    original_context: int = 0
    factors: str | None = None


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """One decoder, sizes in elements. A family with other numbers derives its own class from this one.

    architecture: the GGUF's name for it. vocab: rows of the embedding.
    window: sliding window of each layer in keys, 0 for none. rope: of each layer, None for a layer without rotation.
    qk_norm: RMSNorm over each head of q and k before the rotation.
    embedding_scale: multiplies the embedding. logit_softcap: 0 for none.
    output_norm: the name of the final norm in the file.
    context: the length that the model was trained for; max_seq_len: that of this graph.
    metadata: every metadata value the graph depends on.
    """

    architecture: str
    name: str
    layers: int
    vocab: int
    width: int
    ff: int
    heads: int
    kv_heads: int
    head_dim: int
    eps: float
    attention_scale: float
    window: tuple[int, ...]
    rope: tuple[RopeConfig | None, ...]
    experts: int
    experts_used: int
    expert_ff: int
    context: int
    max_seq_len: int
    bos: int | None
    eos: tuple[int, ...]
    qk_norm: bool = False
    embedding_scale: float = 1.0
    logit_softcap: float = 0.0
    output_norm: str = "output_norm"
    metadata: dict[str, Value]
