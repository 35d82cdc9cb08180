#!/usr/bin/env python3
"""A Qwen3 decoder in plain PyTorch, written here, with the weights of any Qwen3 GGUF.

    python examples/own_decoder.py assets/scripture-2.9m-q8_0.gguf "And it came to pass"
    executorch-ggml export examples/own_decoder.py -g assets/scripture-2.9m-q8_0.gguf own.pte

Parameters are called as the tensors of the file. That is all that binds them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from executorch_ggml import GGUFModule, export_with_gguf
from executorch_ggml.gguf.header import read_header

ROOT = Path(__file__).resolve().parents[1]


class Sizes:
    """The numbers of a Qwen3, from a file's metadata."""

    def __init__(self, gguf: str | Path, context: int) -> None:
        header = read_header(gguf)
        if header.get("general.architecture") != "qwen3":
            raise SystemExit(f"{gguf}: this example is a Qwen3, the file is {header.get('general.architecture')!r}")
        meta = {key.partition(".")[2]: header[key] for key in header if key.startswith("qwen3.")}
        self.layers, self.width, self.ff = (
            int(meta[key]) for key in ("block_count", "embedding_length", "feed_forward_length")
        )
        self.heads, self.kv_heads = int(meta["attention.head_count"]), int(meta["attention.head_count_kv"])
        self.dim = int(meta.get("attention.key_length", self.width // self.heads))
        self.eps, self.base = float(meta["attention.layer_norm_rms_epsilon"]), float(meta["rope.freq_base"])
        self.vocab, self.context = header.tensors["token_embd.weight"].shape[0], context


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin


class Block(nn.Module):
    def __init__(self, s: Sizes) -> None:
        super().__init__()
        self.s, q, kv = s, s.heads * s.dim, s.kv_heads * s.dim
        self.attn_norm, self.ffn_norm = nn.RMSNorm(s.width, s.eps), nn.RMSNorm(s.width, s.eps)
        self.attn_q_norm, self.attn_k_norm = nn.RMSNorm(s.dim, s.eps), nn.RMSNorm(s.dim, s.eps)
        self.attn_q, self.attn_output = nn.Linear(s.width, q, bias=False), nn.Linear(q, s.width, bias=False)
        self.attn_k, self.attn_v = nn.Linear(s.width, kv, bias=False), nn.Linear(s.width, kv, bias=False)
        self.ffn_gate, self.ffn_up = nn.Linear(s.width, s.ff, bias=False), nn.Linear(s.width, s.ff, bias=False)
        self.ffn_down = nn.Linear(s.ff, s.width, bias=False)
        for name in ("keys", "values"):
            self.register_buffer(name, torch.zeros(1, s.context, s.kv_heads, s.dim))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, positions: Tensor) -> Tensor:
        s, y = self.s, self.attn_norm(x)
        q = self.attn_q_norm(self.attn_q(y).view(1, -1, s.heads, s.dim)).transpose(1, 2)
        k = self.attn_k_norm(self.attn_k(y).view(1, -1, s.kv_heads, s.dim)).transpose(1, 2)
        self.keys.index_copy_(1, positions, rotate(k, cos, sin).transpose(1, 2))
        self.values.index_copy_(1, positions, self.attn_v(y).view(1, -1, s.kv_heads, s.dim))
        seen = torch.arange(s.context)[None, :] <= positions[:, None]
        y = F.scaled_dot_product_attention(
            rotate(q, cos, sin), self.keys.transpose(1, 2), self.values.transpose(1, 2), seen, enable_gqa=True
        )
        x = x + self.attn_output(y.transpose(1, 2).flatten(2))
        y = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(y)) * self.ffn_up(y))


class Decoder(nn.Module):
    """tokens int64 [1, T], positions int64 [T] -> logits float32 [1, 1, vocabulary] of the last one."""

    def __init__(self, s: Sizes) -> None:
        super().__init__()
        self.s = s
        self.token_embd, self.output_norm = nn.Embedding(s.vocab, s.width), nn.RMSNorm(s.width, s.eps)
        self.blk = nn.ModuleList(Block(s) for _ in range(s.layers))
        self.output = nn.Linear(s.width, s.vocab, bias=False)

    def hidden(self, tokens: Tensor, positions: Tensor) -> Tensor:
        frequencies = self.s.base ** -(torch.arange(0, self.s.dim, 2).float() / self.s.dim)
        angle = torch.outer(positions.float(), frequencies).repeat(1, 2)
        x: Tensor = self.token_embd(tokens)
        for block in self.blk:
            x = block(x, angle.cos(), angle.sin(), positions)
        return x

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        result: Tensor = self.output(self.output_norm(self.hidden(tokens, positions)[:, -1:]))
        return result


def shapes(context: int) -> tuple[dict[int, torch.export.Dim], ...]:
    tokens = torch.export.Dim("tokens", min=1, max=context)
    return {1: tokens}, {0: tokens}


example_inputs = (torch.zeros(1, 3, dtype=torch.int64), torch.arange(3))
dynamic_shapes = shapes(512)


def model() -> nn.Module:
    """For the command line, which takes the sizes of the bundled model."""
    return Decoder(Sizes(ROOT / "assets" / "scripture-2.9m-q8_0.gguf", 512))


def export(gguf: str | Path, pte: str | Path, context: int = 512) -> None:
    with torch.device("meta"):  # no memory for weights that the file has
        decoder = Decoder(Sizes(gguf, context))
    export_with_gguf(decoder, example_inputs, gguf, pte, dynamic_shapes=shapes(context), strict=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("prompt", nargs="?", default="And it came to pass")
    parser.add_argument("--pte", type=Path, default=Path("own_decoder.pte"))
    options = parser.parse_args()
    export(options.gguf, options.pte)
    for piece in GGUFModule(options.pte, options.gguf).generate(options.prompt, max_tokens=100, temperature=0.7):
        print(piece, end="", flush=True)
    print()


if __name__ == "__main__":
    main()
