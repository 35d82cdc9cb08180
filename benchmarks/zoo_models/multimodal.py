"""CLIP's two towers and DINOv2."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf
from torch.export import Dim

from .model import Inputs, Pick, ZooModel, dims

_TINY: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
_TINY_IMAGE = {**_TINY, "image_size": 32, "patch_size": 8}


def _clip_text(tiny: bool) -> Any:
    small = {**_TINY, "vocab_size": 100, "intermediate_size": 64, "max_position_embeddings": 40, "eos_token_id": 99}
    model = hf.CLIPTextModel(hf.CLIPTextConfig(**(small if tiny else {})))
    return Pick(model, ("input_ids",), "pooler_output")


def _ids(tiny: bool, second: bool) -> Inputs:
    """The text's vector is read where its end mark stands."""
    rows, length = (2, 9) if not second else (3, 21)
    ids = torch.randint(3, 90, (rows, length))
    for row in range(rows):
        ids[row, length - 1 - row] = 99 if tiny else 49407
    return (ids,)


def _clip_vision(tiny: bool) -> Any:
    config = hf.CLIPVisionConfig(**({**_TINY_IMAGE, "intermediate_size": 64} if tiny else {}))
    return Pick(hf.CLIPVisionModel(config), ("pixel_values",), "pooler_output")


def _dinov2(tiny: bool) -> Any:
    config = hf.Dinov2Config(**({**_TINY_IMAGE, "mlp_ratio": 2} if tiny else {}))
    return Pick(hf.Dinov2Model(config), ("pixel_values",), "last_hidden_state")


def _images(tiny: bool, second: bool) -> Inputs:
    side = 32 if tiny else 224
    return (torch.randn(2 + second, 3, side, side),)


def _other_images(tiny: bool, second: bool) -> Inputs:
    """DINOv2 interpolates its positions to any image."""
    if tiny:
        return (torch.randn(1, 3, *((48, 40) if second else (32, 32))),)
    return (torch.randn(1, 3, *((224, 280) if second else (224, 224))),)


MODELS = [
    ZooModel("clip_text", _clip_text, _ids, dims({0: Dim("n", min=1, max=8), 1: Dim("t", min=2, max=32)})),
    ZooModel("clip_vision", _clip_vision, _images, dims({0: Dim("n", min=1, max=8)})),
    ZooModel("dinov2", _dinov2, _other_images),
]
