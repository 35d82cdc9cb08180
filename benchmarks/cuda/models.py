"""The language models that are measured: architecture sizes, weight types, file names. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Positions of the caches: depth 16384, a prompt of 4096 and what is decoded behind it.
MAX_SEQ_LEN = 16384 + 4096 + 256


@dataclass(frozen=True)
class Model:
    """``size``: a preset of make_gguf.py, or "tiny". ``types``: of the weights. ``fused``: those with a file besides
    that has q, k and v in one tensor, which llama.cpp reads faster and ours does not need."""

    name: str
    size: str
    types: tuple[str, ...]
    fused: tuple[str, ...] = ()
    arch: str = ""
    max_seq_len: int = MAX_SEQ_LEN
    layers: int = 0
    """The first ones only, of a model that is large for a session; 0: all."""

    @property
    def where(self) -> dict[str, Any]:
        """Arguments of `write_gguf`. Large models repeat rows: they are for times."""
        arguments: dict[str, Any] = {"size": self.size}
        if self.arch:
            arguments["arch"] = self.arch
        if self.layers:
            arguments |= {"layers": self.layers, "repeat": True}
        return arguments

    def pte(self, folder: Path) -> Path:
        return folder / f"{self.name}.pte"

    def gguf(self, folder: Path, kind: str, fused: bool = False) -> Path:
        return folder / f"{self.name}-{kind}{'-qkv' * fused}.gguf"


REAL = {
    m.name: m
    for m in (
        Model("qwen3-0.6b", "qwen3-0.6b", ("q8_0", "q4_k_m", "q5_0", "f16", "f32"), ("q8_0", "q4_k_m", "f16")),
        Model("llama-3.2-1b", "llama-3.2-1b", ("q8_0",), ("q8_0",)),
        Model("qwen3-4b", "qwen3-4b", ("q8_0",), ("q8_0",)),
        Model("qwen3-8b", "qwen3-8b", ("q4_k_m", "q8_0"), layers=9),
        Model("qwen2.5-0.5b", "qwen2.5-0.5b", ("q8_0",)),
        Model("gemma3-1b", "gemma3-1b", ("q8_0",)),
        Model("phi3-mini", "phi3-mini-4k", ("q4_k_m",), max_seq_len=4096, layers=8),
        Model("qwen3-30b-a3b", "qwen3-30b-a3b", ("q8_0",), layers=8),
    )
}
# For trying the scripts where there is neither a GPU nor time, and for exact checks of every architecture's kernels.
TINY = {
    "tiny": Model("tiny", "tiny", ("q8_0", "q4_k_m", "q5_0", "f16", "f32"), ("q8_0",), arch="qwen3", max_seq_len=512)
}
TINY |= {
    f"tiny-{arch}": Model(f"tiny-{arch}", "tiny", ("f32", "q8_0", "q4_k_m"), arch=arch, max_seq_len=512)
    for arch in ("gemma3", "phi3", "qwen3moe")
}
MODELS = REAL | TINY
