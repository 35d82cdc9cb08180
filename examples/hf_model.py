#!/usr/bin/env python3
"""Hugging Face's own module with the weights of a GGUF, as one graph.

    pip install transformers
    python examples/hf_model.py assets/scripture-2.9m-q8_0.gguf

The configuration comes from the file's metadata. `names="hf"` translates the names of the parameters.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent))
from own_decoder import Sizes

from executorch_ggml import Program, export_with_gguf

MAX_LENGTH = 512


class Model(nn.Module):
    """tokens int64 [1, T] -> logits float32 [1, T, vocabulary] and the states of the second layer."""

    def __init__(self, gguf: str | Path) -> None:
        from transformers import Qwen3Config, Qwen3ForCausalLM

        super().__init__()
        s = Sizes(gguf, MAX_LENGTH)
        self.model = Qwen3ForCausalLM(
            Qwen3Config(
                vocab_size=s.vocab,
                hidden_size=s.width,
                intermediate_size=s.ff,
                num_hidden_layers=s.layers,
                num_attention_heads=s.heads,
                num_key_value_heads=s.kv_heads,
                head_dim=s.dim,
                rms_norm_eps=s.eps,
                rope_parameters={"rope_type": "default", "rope_theta": s.base},
                max_position_embeddings=MAX_LENGTH,
                tie_word_embeddings=True,
            )
        )

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        result = self.model(input_ids=tokens, use_cache=False, output_hidden_states=True)
        return result.logits, result.hidden_states[2]


def export(module: Model, gguf: str | Path, pte: str | Path) -> None:
    length = torch.export.Dim("length", min=2, max=MAX_LENGTH)
    example = (torch.zeros(1, 7, dtype=torch.int64),)
    export_with_gguf(module, example, gguf, pte, names="hf", dynamic_shapes={"tokens": {1: length}}, strict=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--pte", type=Path, default=Path("hf_model.pte"))
    options = parser.parse_args()
    export(Model(options.gguf).eval(), options.gguf, options.pte)
    with Program(options.pte, options.gguf) as program:
        logits, states = program(np.array([[5, 77, 300, 12, 9]]))
    print(f"logits {logits.shape}, states of layer 2 {states.shape}, next token {int(logits[0, -1].argmax())}")


if __name__ == "__main__":
    main()
