"""The parameters of a Parakeet TDT model. Defaults are those of parakeet-tdt-0.6b-v3."""

from __future__ import annotations

from dataclasses import dataclass

from executorch_ggml.errors import InvalidArgumentError

__all__ = ["ParakeetConfig"]


@dataclass(frozen=True)
class ParakeetConfig:
    """Sizes of encoder, prediction network and joint.

    vocab counts the blank, which has the last id. durations: encoder frames that a step may advance by. A frame of
    the encoder is subsampling * hop / sample_rate seconds (0.08). max_symbols: symbols at one frame before the decoder
    moves on by force.
    """

    mels: int = 128
    width: int = 1024
    layers: int = 24
    heads: int = 8
    feed_forward: int = 4096
    kernel: int = 9
    subsampling: int = 8
    subsampling_channels: int = 256
    bias: bool = False
    scale_input: bool = False
    vocab: int = 8193
    predictor_width: int = 640
    predictor_layers: int = 2
    joint_width: int = 640
    durations: tuple[int, ...] = (0, 1, 2, 3, 4)
    max_symbols: int = 10
    sample_rate: int = 16000
    n_fft: int = 512
    window: int = 400
    hop: int = 160
    preemphasis: float = 0.97

    def __post_init__(self) -> None:
        for name in ("mels", "width", "layers", "heads", "feed_forward", "vocab", "predictor_width", "joint_width"):
            if getattr(self, name) < 1:
                raise InvalidArgumentError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.width % self.heads or self.width % 2:
            raise InvalidArgumentError(f"width {self.width} is not a multiple of 2 and of {self.heads} heads")
        if self.kernel % 2 == 0:
            raise InvalidArgumentError(f"kernel must be odd, got {self.kernel}")
        if self.subsampling < 2 or self.subsampling & (self.subsampling - 1):
            raise InvalidArgumentError(f"subsampling must be a power of two, got {self.subsampling}")
        if not self.durations or min(self.durations) < 0 or max(self.durations) == 0:
            raise InvalidArgumentError(f"durations must not be negative, and not all zero: {self.durations}")

    @property
    def blank(self) -> int:
        return self.vocab - 1

    @property
    def reduced_mels(self) -> int:
        """Mel bins that are left after subsampling."""
        bins, factor = self.mels, self.subsampling
        while factor > 1:
            bins, factor = (bins - 1) // 2 + 1, factor // 2
        return bins
