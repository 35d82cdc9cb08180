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
