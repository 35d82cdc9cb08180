"""The parameters of a Voxtral Realtime model. Defaults are those of Voxtral-Mini-4B-Realtime-2602."""

from __future__ import annotations

from dataclasses import dataclass, field

from executorch_ggml.errors import InvalidArgumentError

__all__ = ["TransformerConfig", "VoxtralConfig"]


@dataclass(frozen=True)
class TransformerConfig:
    """One of the two transformers. window: keys that a query sees, its own included."""

    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int
    window: int
    rope_base: float = 1e6
    eps: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("width", "layers", "heads", "kv_heads", "head_dim", "feed_forward", "window"):
            if getattr(self, name) < 1:
                raise InvalidArgumentError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.heads % self.kv_heads or self.head_dim % 2:
            raise InvalidArgumentError(
                f"{self.heads} query heads cannot share {self.kv_heads} key heads, or head size {self.head_dim} is odd"
            )


def _encoder() -> TransformerConfig:
    return TransformerConfig(1280, 32, 32, 32, 64, 5120, 750)


def _decoder() -> TransformerConfig:
    return TransformerConfig(3072, 26, 32, 8, 128, 9216, 8192)


@dataclass(frozen=True)
class VoxtralConfig:
    """Sizes and the shape of a stream.

    A token stands for `downsample` frames of the encoder, each of two frames of log-mel: 0.08 s. rope_halves: rotary
    embeddings of pairs (i, i + D/2), as Hugging Face stores them, instead of (2i, 2i + 1), as Mistral does.
    delay_tokens: how far the text is behind the audio; the decoder is conditioned on it. left_pad_tokens,
    right_pad_tokens: silence before and (beyond the delay) after a recording. bos, eos, pad: ids.
    """

    encoder: TransformerConfig = field(default_factory=_encoder)
    decoder: TransformerConfig = field(default_factory=_decoder)
    vocab: int = 131072
    condition_width: int = 32
    mels: int = 128
    downsample: int = 4
    rope_halves: bool = False
    sample_rate: int = 16000
    window: int = 400
    hop: int = 160
    log_mel_max: float = 1.5
    delay_tokens: int = 6
    left_pad_tokens: int = 32
    right_pad_tokens: int = 11
    bos: int = 1
    eos: int = 2
    pad: int = 32

    @property
    def mel_per_token(self) -> int:
        """Frames of log-mel behind one token."""
        return 2 * self.downsample
