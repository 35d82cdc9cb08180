"""Vocabularies of real models, and small ones made up."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from executorch_ggml.llm.text.tokenizer import Tokenizer

ROOT = Path(__file__).resolve().parents[2]
Metadata = dict[str, Any]


@functools.cache
def models_directory() -> Path:
    """llama.cpp's models/: vocabularies, tokenizer cases beside them, chat templates."""
    if override := os.environ.get("ETGGML_VOCAB_DIR"):
        return Path(override)
    directory = ROOT / "build" / "third-party" / "vocab" / "models"
    command = [sys.executable, str(ROOT / "third-party" / "fetch.py"), "vocab"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"the vocabularies cannot be had: {done.stderr.strip()}")
    return directory


@functools.cache
def read_metadata(path: Path) -> Metadata:
    from executorch_ggml.runtime.gguf_file import GGUFFile

    with GGUFFile(path) as file:
        return dict(file.metadata)


@functools.cache
def _tokenizer(name: str) -> Tokenizer:
    return Tokenizer.from_metadata(read_metadata(models_directory() / f"ggml-vocab-{name}.gguf"))


@pytest.fixture(scope="session")
def models_dir() -> Path:
    return models_directory()


@pytest.fixture(scope="session")
def tokenizer_for() -> Callable[[str], Tokenizer]:
    """tokenizer_for("qwen2"): made once a session."""
    models_directory()
    return _tokenizer


@pytest.fixture(scope="session")
def metadata_for() -> Callable[[str], Metadata]:
    """A fresh, shallow copy of a vocabulary's metadata."""
    return lambda name: dict(read_metadata(models_directory() / f"ggml-vocab-{name}.gguf"))


@pytest.fixture
def bpe_metadata() -> Metadata:
    """A byte-level BPE vocabulary: the 256 bytes, some merges, two special tokens."""
    from executorch_ggml.llm.text.bpe import byte_alphabet

    merges = ["t h", "th e", "\u0120 the", "a n", "an d", "\u0120 and", "l l", "1 2", "12 3"]
    tokens = [*byte_alphabet(), *(merge.replace(" ", "") for merge in merges), "<|end|>", "<user>"]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [1] * (len(tokens) - 2) + [3, 4],
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.eos_token_id": len(tokens) - 2,
    }


@pytest.fixture
def spm_metadata() -> Metadata:
    """A SentencePiece vocabulary: <unk> <s> </s>, 256 bytes, some pieces with scores."""
    pieces = [
        "\u2581",
        "t",
        "h",
        "e",
        "a",
        "n",
        "d",
        "th",
        "he",
        "the",
        "an",
        "and",
        "\u2581the",
        "\u2581a",
        "\u2581an",
    ]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), *pieces]
    scores = [0.0] * 259 + [-float(i) for i in range(len(pieces))]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.token_type": [2, 3, 3] + [6] * 256 + [1] * len(pieces),
    }
