"""Tiny variants of every model of `benchmarks/zoo.py`: right at two input sizes, and in as few delegates as said."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.filterwarnings("ignore")

# Every operator in one delegate, unless PARTS says otherwise.
FAMILIES: dict[str, list[str]] = {
    "custom": ["mlp", "cnn", "unet", "lstm", "gru"],
    "vision": [
        "resnet18",
        "mobilenet_v2",
        "mobilenet_v3_small",
        "efficientnet_b0",
        "squeezenet1_1",
        "densenet121",
        "vit_b_16",
        "swin_t",
        "convnext_tiny",
        "deeplabv3_mobilenet_v3",
    ],
    "text": ["bert", "distilbert", "roberta", "t5_encoder"],
    "decoders": ["gpt2", "llama", "gemma3", "phi3", "qwen3", "qwen3_moe"],
    "audio": ["whisper_encoder", "whisper_decoder", "wav2vec2"],
    "multimodal": ["clip_text", "clip_vision", "dinov2"],
}
LIBRARY = {"vision": "torchvision", "custom": "torch"}  # the others: transformers

# (delegates, operators left to ExecuTorch)
PARTS: dict[str, tuple[int, int]] = {}

# What a quick change is most likely to break runs always, the rest of each kind at night.
NIGHTLY = {
    "squeezenet1_1",
    "densenet121",
    "efficientnet_b0",
    "roberta",
    "distilbert",
    "phi3",
    "qwen3",
    "clip_vision",
    "lstm",
}


def cases() -> list[Any]:
    return [
        pytest.param(family, name, id=name, marks=[pytest.mark.nightly] if name in NIGHTLY else [])
        for family, names in FAMILIES.items()
        for name in names
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_model_is_here(family: str) -> None:
    assert list(load(family)) == FAMILIES[family]


def load(family: str) -> dict[str, Any]:
    """Models by name; skips when the library that they come from is not installed."""
    from benchmarks import zoo_models

    try:
        return {m.name: m for m in zoo_models.family(family)}
    except ModuleNotFoundError as error:
        if error.name != LIBRARY.get(family, "transformers"):
            raise
        pytest.skip(f"{error.name} is not installed")


@pytest.mark.parametrize("family, name", cases())
def test_tiny_model(family: str, name: str) -> None:
    from benchmarks.zoo_measure import measure

    model = load(family)[name]
    row = measure(model, tiny=True)
    assert len(row.errors) == 2
    for error in row.errors:
        assert error.nmse <= model.nmse, f"{error} (bound {model.nmse:.0e})"
    delegates, left = PARTS.get(name, (1, 0))
    assert (row.delegates, row.nodes - row.delegated_nodes) == (delegates, left), row.refusals


def test_random_weights_let_the_input_through() -> None:
    """A model that ignores its input would be right for any kernel."""
    import torch

    model = load("custom")["cnn"]
    module = model.build(tiny=True)
    with torch.no_grad():
        a, b = (module(*model.example(tiny=True, seed=seed)) for seed in (1, 2))
    assert (a - b).abs().max() > 1e-3 * a.abs().max()
