"""The whole Parakeet as one module. Names of its parameters are the names of the weights in a `.pte` or GGUF."""

from __future__ import annotations

import torch
from torch import nn

from .config import ParakeetConfig
from .encoder import Encoder
from .features import LogMel
from .transducer import Joint, Predictor

__all__ = ["Parakeet"]


class Parakeet(nn.Module):
    """Its children are its methods: log_mel, encoder, predictor, joint.

    max_frames: the longest piece of log-mel, in frames of hop / sample_rate seconds, that one call may take.
    """

    def __init__(self, config: ParakeetConfig, max_frames: int = 4096) -> None:
        super().__init__()
        self.config, self.max_frames = config, max_frames
        self.log_mel = LogMel(config)
        self.encoder = Encoder(config, max_frames)
        self.predictor = Predictor(config)
        self.joint = Joint(config)

    @classmethod
    def random(cls, config: ParakeetConfig, max_frames: int = 4096, seed: int = 0) -> Parakeet:
        """With torch's initial weights, the same for the same seed; in eval mode."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(config, max_frames).eval()

    @classmethod
    def meta(cls, config: ParakeetConfig, max_frames: int = 4096) -> Parakeet:
        """Without weights: parameters on the meta device, computed tables with data; in eval mode."""
        with torch.device("meta"):
            return cls(config, max_frames).eval()

    def to_cpu(self) -> Parakeet:
        """Gives states that are still on the meta device zeros on the CPU."""
        for module in self.modules():
            for name, buffer in list(module.named_buffers(recurse=False)):
                if buffer.device.type == "meta":
                    module.register_buffer(name, torch.zeros(buffer.shape, dtype=buffer.dtype))
        return self
