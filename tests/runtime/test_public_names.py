"""Names that README, the docs and older programs use can be imported, and both names of a module give one module."""

from __future__ import annotations

import importlib
import pickle
import re
from pathlib import Path

import pytest

import executorch_ggml

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").glob("*.py"))]
IMPORT = re.compile(r"^\s*from (executorch_ggml[\w.]*) import ([\w, ]+)$", re.MULTILINE)

pytestmark = pytest.mark.quick


def imports() -> list[tuple[str, str, str]]:
    found = []
    for page in PAGES:
        for module, names in IMPORT.findall(page.read_text(encoding="utf-8")):
            found += [(page.name, module, name.split(" as ")[0].strip()) for name in names.split(",")]
    return found


@pytest.mark.parametrize("name", executorch_ggml.__all__)
def test_names_of_the_package(name: str) -> None:
    assert getattr(executorch_ggml, name) is not None


def test_imports_of_the_pages() -> None:
    found = imports()
    assert len(found) >= 10
    for page, module, name in found:
        assert hasattr(importlib.import_module(module), name), f"{page}: from {module} import {name}"


@pytest.mark.parametrize("old", sorted(executorch_ggml._ALIASES))
def test_both_names_are_one_module(old: str) -> None:
    module = importlib.import_module(f"executorch_ggml.{old}")
    room = f"executorch_ggml.{executorch_ggml._ALIASES[old]}"
    assert module is importlib.import_module(room)
    assert module.__name__ == room
    assert module.__spec__ is not None
    assert module.__spec__.name == room


def test_modules_inside_of_one_with_two_names() -> None:
    chat = importlib.import_module("executorch_ggml.text.chat")
    assert chat is importlib.import_module("executorch_ggml.llm.text.chat")
    header = importlib.import_module("executorch_ggml.models.header")
    assert header is importlib.import_module("executorch_ggml.gguf.header")


def test_the_reader_under_its_old_name() -> None:
    module = importlib.import_module("executorch_ggml.gguf")
    assert module.GGUFFile is executorch_ggml.GGUFFile
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = module.nothing_of_the_kind


def test_pickles_name_the_room() -> None:
    config = executorch_ggml.GGUFExportConfig(max_seq_len=64)
    data = pickle.dumps(config)
    assert b"executorch_ggml.llm.export" in data
    assert pickle.loads(data) == config
