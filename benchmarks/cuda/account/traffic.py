"""What each kernel of a decode step has to read: matrices by their order in a layer, keys and values by the depth."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_SIZES = {
    "q": ("attn_q",), "k": ("attn_k",), "v": ("attn_v",), "q, k, v": ("attn_q", "attn_k", "attn_v", "attn_qkv"),
    "o": ("attn_output",), "gate": ("ffn_gate",), "up": ("ffn_up",), "gate, up": ("ffn_gate", "ffn_up"),
    "down": ("ffn_down",),
}  # fmt: skip
# Products of a layer, by how many kernels a program makes of them.
_LAYERS = {
    4: ("q, k, v", "o", "gate, up", "down"),
    5: ("q, k, v", "o", "gate", "up", "down"),
    6: ("q", "k", "v", "o", "gate, up", "down"),
    7: ("q", "k", "v", "o", "gate", "up", "down"),
}
_KINDS = (
    ("product", re.compile(r"mat_?vec|mul_mat|gemv|gemm|cublas|cutlass|nvjet")),
    ("attention", re.compile(r"flash_attn|attention_kernel|fattn")),
    ("heads, rotation, cache", re.compile(r"heads_kernel|rope|set_rows")),
    ("choice", re.compile(r"argmax|sample|choose")),
    ("quantise", re.compile(r"quantize")),
    ("norm", re.compile(r"norm")),
    ("mask", re.compile(r"causal_mask")),
)


@dataclass(frozen=True)
class Traffic:
    """Bytes of a model's matrices, ``sizes[name][layer]``, of its head, and of the keys and values of one layer."""

    layers: int
    sizes: dict[str, list[int]]
    head: int
    cache: int

    @classmethod
    def of(cls, gguf: Path, positions: int) -> Traffic:
        from executorch_ggml.runtime.gguf_file import GGUFFile

        with GGUFFile(gguf) as file:
            arch, meta = file.architecture, file.metadata
            layers = int(meta[f"{arch}.block_count"])
            bytes_of = {name: tensor.nbytes for name, tensor in file.tensors.items()}
            heads, kv_heads = (int(meta[f"{arch}.attention.head_count{s}"]) for s in ("", "_kv"))
            width = int(meta.get(f"{arch}.attention.key_length", int(meta[f"{arch}.embedding_length"]) // heads))
        kinds = sorted({name for names in _SIZES.values() for name in names})
        sizes = {kind: [bytes_of.get(f"blk.{i}.{kind}.weight", 0) for i in range(layers)] for kind in kinds}
        head = bytes_of.get("output.weight", bytes_of["token_embd.weight"])
        return cls(layers, sizes, head, 2 * 2 * positions * kv_heads * width)

    def attribute(self, names: list[str]) -> list[tuple[str, int]]:
        """What each kernel of a step does, and the bytes that it reads at least (0: next to nothing)."""
        kinds = [kind_of(name) for name in names]
        products = [i for i, kind in enumerate(kinds) if kind == "product"]
        attention = [i for i, kind in enumerate(kinds) if kind == "attention" and "combine" not in names[i]]
        found = [(kind, 0) for kind in kinds]
        for i in attention:
            found[i] = ("attention", self.cache * self.layers // len(attention))
        layer = _LAYERS.get((len(products) - 1) // self.layers)
        if layer and (len(products) - 1) % self.layers == 0:
            for number, i in enumerate(products[:-1]):
                role = layer[number % len(layer)]
                found[i] = (role, sum(self.sizes[kind][number // len(layer)] for kind in _SIZES[role]))
            found[products[-1]] = ("head", self.head)
        elif products:  # unknown to us: all of the weights, in equal parts
            total = self.head + sum(sum(sizes) for sizes in self.sizes.values())
            for i in products:
                found[i] = ("product", total // len(products))
        return found


def kind_of(name: str) -> str:
    return next((kind for kind, pattern in _KINDS if pattern.search(name)), "other")
