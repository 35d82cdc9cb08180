"""The whole Voxtral Realtime as one module. Names of its parameters are those of the weights in a GGUF or `.pte`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from executorch_ggml.aot.custom_ops_audio import take_rows
from executorch_ggml.errors import InvalidArgumentError

from .config import VoxtralConfig
from .decoder import Decoder
from .encoder import Encoder, LogMel
from .layers import Attention

__all__ = ["Compaction", "VoxtralRealtime"]


_ROWS = 256
"""GPUs have faster kernels for caches of a multiple of it."""


class VoxtralRealtime(nn.Module):
    """Its children are its methods: log_mel, encoder, decoder.

    max_tokens: the longest piece of audio in one call of the encoder, in tokens. decoder_rows: positions of the
    decoder's caches. The encoder's hold its window, the longest piece, and as much again, so that compaction is rare.
    """

    def __init__(self, config: VoxtralConfig, max_tokens: int = 64, decoder_rows: int = 4096) -> None:
        super().__init__()
        prompt = 1 + config.left_pad_tokens + config.delay_tokens
        if max_tokens < 1 or decoder_rows <= prompt:
            raise InvalidArgumentError(
                f"{max_tokens} tokens a call and {decoder_rows} positions are too few; a prompt has {prompt}"
            )
        self.config, self.max_tokens, self.decoder_rows = config, max_tokens, decoder_rows
        used = config.encoder.window + 2 * max_tokens * config.downsample
        self.encoder_rows = -(-used // _ROWS) * _ROWS
        self.log_mel = LogMel(config)
        self.encoder = Encoder(config, self.encoder_rows)
        self.decoder = Decoder(config, decoder_rows)

    @classmethod
    def random(
        cls, config: VoxtralConfig, max_tokens: int = 64, decoder_rows: int = 4096, seed: int = 0
    ) -> VoxtralRealtime:
        """With torch's initial weights, the same for the same seed; in eval mode."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(config, max_tokens, decoder_rows).eval()

    @classmethod
    def meta(cls, config: VoxtralConfig, max_tokens: int = 64, decoder_rows: int = 4096) -> VoxtralRealtime:
        """Without weights: parameters and caches on the meta device, computed tables with data; in eval mode."""
        with torch.device("meta"):
            return cls(config, max_tokens, decoder_rows).eval()

    def reset(self) -> None:
        """Empties the caches (eager use)."""
        for name, buffer in self.named_buffers():
            if name.rpartition(".")[2] in ("k_cache", "v_cache", "tail1", "tail2"):
                buffer.zero_()


class Compaction(nn.Module):
    """forward(keep int64 [n]) -> float32 [1, 1]: moves the rows named by `keep` to the beginning of every cache.

    The result means nothing, but a method needs one.
    """

    def __init__(self, name: str, transformer: nn.Module) -> None:
        super().__init__()
        self.name = name
        layers = nn.Module()  # nothing but the layers, under their own names: other buffers would need data
        layers.layers = transformer.layers
        setattr(self, name, layers)

    def forward(self, keep: Tensor) -> Tensor:
        start = torch.arange(keep.shape[0], device=keep.device)
        last = None
        for layer in getattr(self, self.name).layers:
            attention: Attention = layer.attn
            for cache in (attention.k_cache, attention.v_cache):
                last = take_rows(cache, keep)
                cache.index_copy_(1, start, last)
        assert last is not None
        result: Tensor = last[:, 0, 0, :1] * 1.0
        return result
