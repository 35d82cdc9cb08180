"""A family of decoders: the facts that an architecture's name implies. The class itself describes llama-like ones.

A family is a file in `families/`, with one object called FAMILY. It reads its numbers from the metadata (`config`) and
makes its blocks (`blocks`). Sizes, biases, tied heads and fused projections come from the GGUF.
"""

from __future__ import annotations

from collections.abc import Sequence

from executorch_ggml.errors import FormatError, UnsupportedError

from .attention import AttentionBlock
from .block import Block, Place
from .config import ModelConfig
from .metadata import Metadata
from .rope import read_rope

__all__ = ["Family"]


class Family:
    """Llama-like decoders.

    names: the values of `general.architecture` that it stands for.
    rope_mode: which elements of a head form a pair. (Converters permute Llama's q and k so that pairs are adjacent.)
    qk_norm: RMSNorm over each head of q and k before the rotation.
    mixture: the feed-forward part may be a mixture of experts, chosen by softmax, with weights scaled to sum 1.
    """

    def __init__(self, *names: str, rope_mode: int, qk_norm: bool = False, mixture: bool = False) -> None:
        self.names, self.rope_mode, self.qk_norm, self.mixture = names, rope_mode, qk_norm, mixture

    def config(self, meta: Metadata, max_seq_len: int) -> ModelConfig:
        """Reads and checks the metadata. A key that changes the arithmetic and is not read here is refused.

        A family with other rules calls this and replaces fields of the result.
        """
        path = meta.header.path
        layers = meta.integer("block_count", maximum=1 << 14)
        width = meta.integer("embedding_length")
        heads = meta.integer("attention.head_count")
        kv_heads = self.kv_heads(meta, layers, heads)
        head_dim = meta.integer("attention.key_length", width // heads)
        value_dim = meta.integer("attention.value_length", head_dim)
        if heads % kv_heads:
            raise FormatError(f"{path}: {heads} query heads cannot share {kv_heads} key heads")
        if value_dim != head_dim:
            raise UnsupportedError(f"{path}: keys of {head_dim} and values of {value_dim} elements a head")
        peeked = meta.peek("context_length")
        context = peeked if isinstance(peeked, int) and peeked > 0 else max_seq_len
        experts = meta.integer("expert_count", 0, minimum=0) if self.mixture else 0
        ff = meta.integer("feed_forward_length", 0 if experts else None, minimum=0 if experts else 1)
        used = meta.integer("expert_used_count", maximum=experts) if experts else 0
        rope = read_rope(meta, self.rope_mode, head_dim, max_seq_len, context)
        vocab = meta.vocabulary()
        bos = meta.ids("bos_token_id", limit=vocab)
        return ModelConfig(
            architecture=meta.architecture,
            name=str(meta.header.get("general.name", meta.architecture)),
            layers=layers,
            vocab=vocab,
            width=width,
            ff=ff,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            eps=meta.number("attention.layer_norm_rms_epsilon"),
            attention_scale=meta.number("attention.scale", self.scale_dim(layers, width // heads, head_dim) ** -0.5),
            window=(0,) * layers,
            rope=(rope,) * layers,
            experts=experts,
            experts_used=used,
            expert_ff=self.expert_ff(meta, ff, used) if experts else 0,
            context=context,
            max_seq_len=max_seq_len,
            bos=bos[0] if bos else None,
            eos=tuple(meta.ids("eos_token_id", "eot_token_id", "eom_token_id", limit=vocab)),
            qk_norm=self.qk_norm,
            metadata={},
        )

    def kv_heads(self, meta: Metadata, layers: int, heads: int) -> int:
        """Key heads of the layers with attention."""
        return meta.integer("attention.head_count_kv", heads)

    def scale_dim(self, layers: int, width_a_head: int, head_dim: int) -> int:
        """Attention is scaled by the root of this number, unless the file has a scale of its own."""
        return head_dim

    def expert_ff(self, meta: Metadata, ff: int, used: int) -> int:
        """Width of one expert."""
        return meta.integer("expert_feed_forward_length", ff or None)

    def blocks(self, places: Sequence[Place]) -> list[Block]:
        """The blocks of the stack, one for each place."""
        return [AttentionBlock(place) for place in places]
