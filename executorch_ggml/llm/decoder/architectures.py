"""The table of architectures: the differences of llama-like decoders.

An entry holds the facts that the architecture's name implies and the GGUF does not state. Other facts (sizes, biases,
tied heads, fused projections, frequency factors) are read from the file's metadata and list of tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ARCHITECTURES", "ROPE_NEOX", "ROPE_NORM", "Architecture"]

ROPE_NORM = 0  # rotates the pairs (2i, 2i + 1)
ROPE_NEOX = 2  # rotates the pairs (i, i + dims / 2)


@dataclass(frozen=True)
class Architecture:
    """
    rope_mode: which elements of a head form a pair. (Converters permute Llama's q and k so that pairs are adjacent.)
    qk_norm: RMSNorm over each head of q and k before the rotation.
    post_norms: RMSNorm on the output of attention and of the feed-forward block, before the residual is added.
    activation: of the gated feed-forward block, "silu" or "gelu" (tanh approximation).
    scaled_embedding: the embedding is multiplied by sqrt(width).
    logit_softcap: final_logit_softcapping is honoured.
    sliding: "none", "all" layers, or the "pattern" of which every `sliding_period`-th layer sees everything.
    local_rope_base: rope base of sliding layers, 0 when they rotate like the others.
    no_rope_step: every n-th layer has no rotation, 0 for none.
    experts: "never", "maybe" (when expert_count says so) or "always".
    scale_by_width_at_layers: layer counts of checkpoints that scale attention by width / heads, not by head_dim.
    """

    name: str
    rope_mode: int
    qk_norm: bool = False
    post_norms: bool = False
    activation: str = "silu"
    scaled_embedding: bool = False
    logit_softcap: bool = False
    sliding: str = "none"
    sliding_period: int = 0
    local_rope_base: float = 0.0
    no_rope_step: int = 0
    experts: str = "never"
    scale_by_width_at_layers: tuple[int, ...] = ()


ARCHITECTURES: dict[str, Architecture] = {
    entry.name: entry
    for entry in (
        # Mistral and Mixtral checkpoints are filed under "llama" too; a sliding window is not recorded for them.
        Architecture("llama", ROPE_NORM, experts="maybe"),
        Architecture("mistral3", ROPE_NORM),
        Architecture("qwen2", ROPE_NEOX),
        Architecture("qwen3", ROPE_NEOX, qk_norm=True),
        Architecture("qwen3moe", ROPE_NEOX, qk_norm=True, experts="always"),
        # The window the file states is honoured, as in transformers; llama.cpp ignores it for this architecture.
        Architecture("phi3", ROPE_NEOX, sliding="all"),
        Architecture("smollm3", ROPE_NORM, no_rope_step=4),
        Architecture(
            "gemma3",
            ROPE_NEOX,
            qk_norm=True,
            post_norms=True,
            activation="gelu",
            scaled_embedding=True,
            logit_softcap=True,
            sliding="pattern",
            sliding_period=6,
            local_rope_base=10000.0,
            scale_by_width_at_layers=(62,),  # Gemma 3 27B
        ),
    )
}
