#!/usr/bin/env python3
"""Low-rank adapters on a model whose weights stay in a GGUF: the adapters are in the `.pte`, the rest is not.

    python examples/own_lora.py assets/scripture-2.9m-q8_0.gguf

Both adapters are in one graph. A weight for each is an argument of the call. The method is that of "LoRA: Low-Rank
Adaptation of Large Language Models" (https://arxiv.org/abs/2106.09685).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent))
from own_decoder import Decoder, Sizes, example_inputs, shapes

from executorch_ggml import Program, export_with_gguf

ADAPTERS, RANK = 2, 8
OWN = ["*.lora_a", "*.lora_b"]


class Adapted(nn.Linear):
    """A matrix of the file plus ``strength[i] * b[i] @ a[i]``."""

    def __init__(self, base: nn.Linear, strength: Tensor) -> None:
        super().__init__(base.in_features, base.out_features, bias=False, device="meta")
        self.strength = strength
        self.lora_a = nn.Parameter(torch.randn(ADAPTERS, RANK, base.in_features) * base.in_features**-0.5)
        self.lora_b = nn.Parameter(torch.randn(ADAPTERS, base.out_features, RANK) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        for a, b, strength in zip(self.lora_a, self.lora_b, self.strength, strict=True):
            y = y + nn.functional.linear(nn.functional.linear(x, a), b) * strength
        return y


class Model(nn.Module):
    """tokens, positions, strength float32 [2] -> logits."""

    def __init__(self, s: Sizes) -> None:
        super().__init__()
        self.decoder = Decoder(s)
        self.adapted = [(block, name) for block in self.decoder.blk for name in ("attn_q", "attn_v")]
        for block, name in self.adapted:
            setattr(block, name, Adapted(getattr(block, name), torch.zeros(ADAPTERS)))

    def forward(self, tokens: Tensor, positions: Tensor, strength: Tensor) -> Tensor:
        for block, name in self.adapted:
            getattr(block, name).strength = strength
        result: Tensor = self.decoder(tokens, positions)
        return result


def model(gguf: str | Path, context: int = 512) -> Model:
    """With random adapters; trained ones would be loaded here."""
    torch.manual_seed(0)
    return Model(Sizes(gguf, context)).eval()


def export(module: Model, gguf: str | Path, pte: str | Path) -> None:
    dynamic = (*shapes(module.decoder.s.context), None)
    export_with_gguf(
        module, (*example_inputs, torch.zeros(ADAPTERS)), gguf, pte, dynamic_shapes=dynamic, own=OWN, strict=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--pte", type=Path, default=Path("own_lora.pte"))
    options = parser.parse_args()
    export(model(options.gguf), options.gguf, options.pte)
    tokens = np.array([[5, 77, 300, 12, 9]])
    with Program(options.pte, options.gguf) as program:
        for strength in ([0, 0], [1, 0], [0, 1], [0.5, 0.5]):
            (logits,) = program(tokens, np.arange(5), np.array(strength, np.float32))
            print(
                f"adapters {strength}: most likely next token {int(logits.argmax())}, logit {float(logits.max()):.3f}"
            )


if __name__ == "__main__":
    main()
