"""Tiny speech models as `.pte`, each exported once a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def parakeet_pte(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """dtype -> a tiny Parakeet, exported at most once."""
    import torch
    from speech_models import PIECES, tiny_parakeet

    from executorch_ggml.speech.parakeet.export import export_parakeet

    torch.set_num_threads(1)
    folder, made = tmp_path_factory.mktemp("parakeet"), {}

    def get(dtype: str) -> Path:
        if dtype not in made:
            path = folder / f"{dtype}.pte"
            result = export_parakeet(tiny_parakeet(), path, dtype=dtype, vocabulary=PIECES)
            assert all("aten" not in op for left in result.outside.values() for op in left)
            made[dtype] = path
        return made[dtype]

    return get


@pytest.fixture(scope="session")
def voxtral_files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path]]:
    """dtype -> (the `.pte`, a GGUF) of a tiny Voxtral: one graph, exported without weights, for all dtypes."""
    import torch
    from voxtral_models import hf_model, write_hf

    from executorch_ggml.speech.voxtral.convert import open_voxtral
    from executorch_ggml.speech.voxtral.export import export_voxtral, write_weights
    from executorch_ggml.speech.voxtral.model import VoxtralRealtime

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("voxtral")
    checkpoint = open_voxtral(write_hf(hf_model(), folder / "checkpoint"))
    model = VoxtralRealtime.meta(checkpoint.config, max_tokens=16, decoder_rows=30)
    result = export_voxtral(model, folder / "voxtral.pte", vocabulary=checkpoint.pieces, streaming=True)
    assert all("aten" not in op for left in result.outside.values() for op in left)

    def get(dtype: str) -> tuple[Path, Path]:
        path = folder / f"{dtype}.gguf"
        if not path.exists():
            write_weights(checkpoint.sources(model), path, dtype)
        return folder / "voxtral.pte", path

    return get
