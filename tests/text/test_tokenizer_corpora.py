"""Every vocabulary with cases beside it: the ids of the model's own tokenizer, and the text back from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from executorch_ggml.errors import UnsupportedError
from executorch_ggml.llm.text.tokenizer import Tokenizer

SUPPORTED = [
    "command-r", "deepseek-coder", "deepseek-llm", "falcon", "gemma-4", "gpt-2", "llama-bpe", "llama-spm", "mpt",
    "phi-3", "qwen2", "qwen35", "refact", "starcoder",
]  # fmt: skip
WITHOUT_CASES = ["aquila", "baichuan", "gpt-neox"]
REFUSED = ["bert-bge", "nomic-bert-moe"]
SEPARATOR = "\n__ggml_vocab_test__\n"

MakeTokenizer = Callable[[str], Tokenizer]


def cases(models: Path, name: str) -> list[tuple[str, list[int]]]:
    # newline="": some cases hold carriage returns
    with open(models / f"ggml-vocab-{name}.gguf.inp", encoding="utf-8", newline="") as file:
        texts = file.read().split(SEPARATOR)
    lines = (models / f"ggml-vocab-{name}.gguf.out").read_text(encoding="utf-8").split("\n")
    return [(text, [int(item) for item in line.split()]) for text, line in zip(texts, lines, strict=False)]


def test_no_vocabulary_is_left_out(models_dir: Path) -> None:
    found = {path.name[len("ggml-vocab-") : -len(".gguf")] for path in models_dir.glob("ggml-vocab-*.gguf")}
    assert found == {*SUPPORTED, *WITHOUT_CASES, *REFUSED}


@pytest.mark.parametrize("name", SUPPORTED)
def test_ids(name: str, models_dir: Path, tokenizer_for: MakeTokenizer) -> None:
    tokenizer = tokenizer_for(name)
    checked = cases(models_dir, name)
    assert len(checked) == {"gemma-4": 46, "qwen35": 51}.get(name, 47)  # of the pinned archive
    for text, expected in checked:
        assert tokenizer.encode(text, add_special=False) == expected, repr(text)


@pytest.mark.parametrize("name", SUPPORTED)
def test_decoding_gives_the_text_back(name: str, models_dir: Path, tokenizer_for: MakeTokenizer) -> None:
    tokenizer = tokenizer_for(name)
    for text, ids in cases(models_dir, name):
        assert tokenizer.decode(ids) == text
        stream = tokenizer.stream()
        pieces = [stream.push(token) for token in ids]
        assert "".join(pieces) + stream.flush() == text
        assert not any("\ufffd" in piece for piece in pieces) or "\ufffd" in text


@pytest.mark.parametrize("name", WITHOUT_CASES)
def test_round_trip_without_cases(name: str, models_dir: Path, tokenizer_for: MakeTokenizer) -> None:
    for text, _ in cases(models_dir, "gpt-2"):
        assert tokenizer_for(name).decode(tokenizer_for(name).encode(text, add_special=False)) == text


@pytest.mark.parametrize("name", REFUSED)
def test_other_kinds_are_refused(name: str, tokenizer_for: MakeTokenizer) -> None:
    with pytest.raises(UnsupportedError, match=r"tokenizer\.ggml\.model '(bert|t5)'"):
        tokenizer_for(name)


def test_metadata_of_another_reader(models_dir: Path, tokenizer_for: MakeTokenizer) -> None:
    from gguf import GGUFReader

    path = models_dir / "ggml-vocab-llama-spm.gguf"
    fields = {key: field.contents() for key, field in GGUFReader(path).fields.items()}
    assert Tokenizer.from_metadata(fields).vocabulary == tokenizer_for("llama-spm").vocabulary
    assert Tokenizer.from_gguf(path).vocabulary == tokenizer_for("llama-spm").vocabulary
