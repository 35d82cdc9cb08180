"""all-MiniLM-L6-v2 with its real weights, as `examples/semantic_search.py` exports and runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shared_models import child

from benchmarks.sentences import sentences

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """(eager encoder, folder of the export)"""
    from examples import semantic_search

    try:
        directory = semantic_search.model_directory()
    except ModuleNotFoundError as error:
        pytest.skip(f"the model is not installed: {error}")
    folder = tmp_path_factory.mktemp("minilm")
    encoder = semantic_search.sentence_encoder(directory)
    semantic_search.export(encoder, folder)
    return encoder, folder


def eager(encoder: Any, search: Any, texts: list[str]) -> np.ndarray[Any, Any]:
    """The reference, text by text: a batch's padding must not matter."""
    import torch

    rows = []
    for text in texts:
        ids = torch.tensor([search.tokenizer.encode(text).ids])
        with torch.no_grad():
            rows.append(encoder(ids, torch.ones_like(ids))[0].numpy())
    return np.stack(rows)


def cosines(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    a, b = a.astype(np.float64), b.astype(np.float64)
    found: np.ndarray[Any, Any] = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return found


# Measured with Q8_0 on 100 sentences: 0.99908 at worst, 0.99965 in the middle; a single word: 0.9978.
@pytest.mark.parametrize("weights, bound", [("f32", 0.99999), ("q8_0", 0.997)])
def test_cosine_to_eager(exported: tuple[Any, Path], weights: str, bound: float) -> None:
    from examples.semantic_search import MAX_LENGTH, Search

    encoder, folder = exported
    search = Search(folder, weights, threads=1)
    texts = [*sentences(20), "Yes", "a " * 600]
    assert len(search.tokenizer.encode(texts[-1]).ids) == MAX_LENGTH
    want = eager(encoder, search, texts)
    for chosen in ([0], [20], [3, 20, 7], list(range(21)), [0, 21]):  # one, one word, padding, a batch, the longest
        found = cosines(search.embed([texts[i] for i in chosen]), want[chosen])
        assert found.min() >= bound, (chosen, found)


def test_one_delegate_without_weights(exported: tuple[Any, Path]) -> None:
    from executorch_ggml.runtime.program import payloads

    _, folder = exported
    assert len(payloads(folder / "minilm.pte")) == 1
    assert (folder / "minilm.pte").stat().st_size < 100_000


def test_search_ranks_by_meaning_and_imports_no_torch(exported: tuple[Any, Path]) -> None:
    _, folder = exported
    code = (
        "import sys; from pathlib import Path; from examples.semantic_search import DOCUMENTS, Search\n"
        f"ranked = Search(Path({str(folder)!r}), 'q8_0').rank('How do I cook rice?', DOCUMENTS)\n"
        "print(ranked[0][1]); assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    done = child("-c", code, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Rinse the grains")
