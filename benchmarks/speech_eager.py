"""The speech models in eager torch, as strong as torch has them: fused attention over the keys that are there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def device_of(name: str) -> Any:
    import torch

    return torch.device("cuda" if name.startswith("cuda") and torch.cuda.is_available() else "cpu")


def synced(call: Callable[[], Any], device: Any) -> Callable[[], Any]:
    """Inference mode; ends when the device has."""
    import torch

    def run() -> Any:
        with torch.inference_mode():
            result = call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return result

    return run


def parakeet(device: Any, dtype: Any) -> Any:
    from executorch_ggml.speech.parakeet.config import ParakeetConfig
    from executorch_ggml.speech.parakeet.model import Parakeet

    return Parakeet.random(ParakeetConfig(), 4096).to(device, dtype)


def voxtral(rows: int, depth: int, device: Any, dtype: Any) -> Any:
    """On a GPU the whole model, elsewhere one layer's weights in all layers: as much arithmetic and, a layer being far
    larger than any cache, as much traffic, in a tenth of the memory.

    depth: positions before a token, which attention then sees together with it.
    """
    from dataclasses import replace

    from torch import nn

    from executorch_ggml.speech.voxtral import layers
    from executorch_ggml.speech.voxtral.config import VoxtralConfig
    from executorch_ggml.speech.voxtral.model import VoxtralRealtime

    whole = config = VoxtralConfig()
    if device.type != "cuda":
        config = replace(whole, encoder=replace(whole.encoder, layers=1), decoder=replace(whole.decoder, layers=1))
    model = VoxtralRealtime.meta(config, 64, rows).to(dtype).to_empty(device=device)
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data.normal_(0.0, 0.02)
    if config is not whole:
        for part, count in ((model.encoder, whole.encoder.layers), (model.decoder, whole.decoder.layers)):
            part.layers = nn.ModuleList([part.layers[0]] * count)
    layers.causal_attention = _attention(depth)  # type: ignore[assignment]
    return model


def _attention(depth: int) -> Callable[..., Any]:
    """In place of `custom_ops.causal_attention`, which computes in float32 over the whole cache."""
    from torch.nn import functional as F

    def attend(query: Any, keys: Any, values: Any, _rows: Any, scale: float, _window: int, _softcap: float) -> Any:
        count = query.shape[1]
        seen = count if count > 1 else depth + 1
        mixed = F.scaled_dot_product_attention(
            query.transpose(1, 2),
            keys[:, :seen].transpose(1, 2),
            values[:, :seen].transpose(1, 2),
            is_causal=count > 1,
            scale=scale,
            enable_gqa=keys.shape[2] != query.shape[2],
        )
        return mixed.transpose(1, 2)

    return attend
