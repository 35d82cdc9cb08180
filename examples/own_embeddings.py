#!/usr/bin/env python3
"""Sentence embeddings from a language model's GGUF: the mean of a middle layer's states, several sentences at once.

    python examples/own_embeddings.py assets/scripture-2.9m-q8_0.gguf "The king spoke" "The ruler said" "A great storm"

The head and the last layers are not in the graph, so their weights are not read.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent))
from own_decoder import Block, Sizes, rotate

from executorch_ggml import GGUFFile, Program, export_with_gguf
from executorch_ggml.llm.text.tokenizer import Tokenizer

MAX_BATCH, MAX_LENGTH = 16, 128


class Layer(Block):
    """A block without a cache, for whole sentences of several lengths."""

    def __init__(self, s: Sizes) -> None:
        super().__init__(s)
        del self.keys, self.values

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, seen: Tensor) -> Tensor:
        s, y = self.s, self.attn_norm(x)
        q = self.attn_q_norm(self.attn_q(y).unflatten(2, (s.heads, s.dim))).transpose(1, 2)
        k = self.attn_k_norm(self.attn_k(y).unflatten(2, (s.kv_heads, s.dim))).transpose(1, 2)
        v = self.attn_v(y).unflatten(2, (s.kv_heads, s.dim)).transpose(1, 2)
        y = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, seen, enable_gqa=True)
        x = x + self.attn_output(y.transpose(1, 2).flatten(2))
        y = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(y)) * self.ffn_up(y))


class Embedder(nn.Module):
    """tokens int64 [N, T], lengths int64 [N] -> unit vectors float32 [N, width]."""

    def __init__(self, s: Sizes, layers: int) -> None:
        super().__init__()
        self.s, self.token_embd = s, nn.Embedding(s.vocab, s.width)
        self.blk = nn.ModuleList(Layer(s) for _ in range(layers))

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        positions = torch.arange(tokens.shape[1])
        frequencies = self.s.base ** -(torch.arange(0, self.s.dim, 2).float() / self.s.dim)
        angle = torch.outer(positions.float(), frequencies).repeat(1, 2)
        real = positions[None, :] < lengths[:, None]
        seen = (positions[None, :] <= positions[:, None])[None] & real[:, None, :]
        x = self.token_embd(tokens)
        for layer in self.blk:
            x = layer(x, angle.cos(), angle.sin(), seen[:, None])
        mean = (x * real[:, :, None]).sum(1) / lengths[:, None]
        return F.normalize(mean, dim=-1)


def model(gguf: str | Path, layers: int = 0) -> Embedder:
    """``layers``: the first ones; 0: half of them."""
    sizes = Sizes(gguf, MAX_LENGTH)
    return Embedder(sizes, layers or max(1, sizes.layers // 2)).eval()


def export(module: Embedder, gguf: str | Path, pte: str | Path) -> None:
    batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
    length = torch.export.Dim("length", min=1, max=MAX_LENGTH)
    example = (torch.zeros(2, 3, dtype=torch.int64), torch.tensor([3, 2]))
    dynamic = ({0: batch, 1: length}, {0: batch})
    export_with_gguf(module, example, gguf, pte, dynamic_shapes=dynamic, strict=True)


def padded(sentences: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Tokens [N, T] with zeros behind the shorter ones, and lengths [N]."""
    lengths = np.array([len(tokens) for tokens in sentences])
    tokens = np.zeros((len(sentences), lengths.max()), np.int64)
    for row, ids in zip(tokens, sentences, strict=True):
        row[: len(ids)] = ids
    return tokens, lengths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("sentences", nargs="+")
    parser.add_argument("--pte", type=Path, default=Path("own_embeddings.pte"))
    options = parser.parse_args()
    export(model(options.gguf), options.gguf, options.pte)
    with GGUFFile(options.gguf) as file, Program(options.pte, file) as program:
        tokenizer = Tokenizer.from_gguf(file)
        (vectors,) = program(*padded([tokenizer.encode(text) for text in options.sentences]))
    for text, row in zip(options.sentences, vectors @ vectors.T, strict=True):
        print("  ".join(f"{cosine:6.3f}" for cosine in row), "", text)


if __name__ == "__main__":
    main()
