"""Tokenizer metadata copied from a GGUF that has one, fitted to a model's vocabulary size."""

from __future__ import annotations

from pathlib import Path

from gguf import GGUFReader, GGUFValueType

from tests.support.gguf_layouts import ARRAY, BOOL, STRING, U32, Kv

_PER_TOKEN = ("tokens", "token_type", "scores")
_UNUSED = 5  # token type of the filler entries, as the converter writes it


def _fit(name: str, values: list, size: int) -> list:
    """Cuts or fills a per-token array to `size` entries."""
    missing = range(len(values), size)
    filler = {"tokens": [f"[PAD{i}]" for i in missing], "token_type": [_UNUSED] * len(missing)}
    return values[:size] + filler.get(name, [0.0] * len(missing))


def tokenizer_metadata(source: Path, size: int, eos: int | None = None) -> list[Kv]:
    """The `tokenizer.*` entries of `source`, with exactly `size` tokens.

    Special tokens beyond the vocabulary are dropped (a tiny model cannot have them). `eos` replaces the end-of-sequence
    id where the vocabulary file carries that of a base model.
    """
    entries = []
    for key, field in GGUFReader(source).fields.items():
        if not key.startswith("tokenizer."):
            continue
        kind, value, name = int(field.types[0]), field.contents(), key.rsplit(".", 1)[-1]
        if field.types[0] == GGUFValueType.ARRAY:
            if name in _PER_TOKEN:
                value = _fit(name, value, size)
            entries.append(Kv(key, ARRAY, value, int(field.types[-1])))
        elif name.endswith("_token_id"):
            value = eos if name == "eos_token_id" and eos is not None else value
            if value < size:
                entries.append(Kv(key, U32, value))
        else:
            entries.append(Kv(key, kind, value))
    if not any(kv.key == "tokenizer.ggml.add_bos_token" for kv in entries) and _model(entries) == "gpt2":
        entries.append(Kv("tokenizer.ggml.add_bos_token", BOOL, False))
    return entries


def _model(entries: list[Kv]) -> object:
    return next((kv.value for kv in entries if kv.key == "tokenizer.ggml.model"), None)


def no_tokenizer(arch: str, size: int) -> list[Kv]:
    """What stands in a file without a tokenizer, enough for llama.cpp to load it."""
    return [Kv("tokenizer.ggml.model", STRING, "none"), Kv(f"{arch}.vocab_size", U32, size)]
