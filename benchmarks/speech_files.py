"""The speech models at their real size as files: graphs without weights, and random weights beside them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import random_weights

MAX_FRAMES = 4096
"""Of log-mel, in a call of Parakeet's encoder."""

ROWS, TOKENS = 4096, 64
"""Positions in the caches of Voxtral's decoder; tokens of audio in a call of its encoder."""

_EXACT = ("*.bias_u", "*.bias_v", "*.positions", "log_mel.*")


def parakeet() -> Any:
    """On the meta device. Its table of positions is a weight, too: a method's tensors are all on one device."""
    import torch

    from executorch_ggml.speech.parakeet.config import ParakeetConfig
    from executorch_ggml.speech.parakeet.model import Parakeet

    model = Parakeet.meta(ParakeetConfig(), MAX_FRAMES)
    model.encoder.register_buffer("positions", torch.empty_like(model.encoder.positions, device="meta"))
    return model


def voxtral() -> Any:
    from executorch_ggml.speech.voxtral.config import VoxtralConfig
    from executorch_ggml.speech.voxtral.model import VoxtralRealtime

    return VoxtralRealtime.meta(VoxtralConfig(), TOKENS, ROWS)


def export(name: str, path: Path) -> None:
    """Minutes. Needs ExecuTorch's exporter, which writing weights and measuring do not."""
    from executorch_ggml.speech.parakeet.export import export_parakeet
    from executorch_ggml.speech.voxtral.export import export_voxtral

    start = time.perf_counter()
    result = export_parakeet(parakeet(), path) if name == "parakeet" else export_voxtral(voxtral(), path)
    print(f"export {time.perf_counter() - start:.0f} s, {result.bytes / 1e6:.2f} MB, nodes {dict(result.nodes)}")


def write_weights(name: str, path: Path, dtype: str) -> None:
    start = time.perf_counter()
    kept: Mapping[str, Any] = {}
    if name == "parakeet":
        from executorch_ggml.speech.parakeet.attention import relative_positions

        model = parakeet()
        kept = {"encoder.positions": relative_positions(model.config.width, model.encoder.longest).numpy()}
    else:
        model = voxtral()
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    shapes |= {name: values.shape for name, values in kept.items()}
    size = random_weights.write(shapes, path, dtype, exact=_EXACT, kept=kept)
    print(f"{path.name}: {size / 1e9:.2f} GB in {time.perf_counter() - start:.1f} s", flush=True)


def prepare(name: str, dtype: str, folder: Path, weights: Path) -> tuple[Path, Path]:
    """(`.pte`, GGUF), made when they are not there."""
    pte, gguf = folder / f"{name}.pte", weights / f"{name}-{dtype.lower()}.gguf"
    if not pte.exists():
        export(name, pte)
    if not gguf.exists():
        write_weights(name, gguf, dtype)
    return pte, gguf
