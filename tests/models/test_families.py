"""The registry of families against the sources of its facts, and the pages that name its members."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import gguf
import pytest

pytest.importorskip("torch")

from executorch_ggml.llm.decoder import ARCHITECTURES
from executorch_ggml.llm.decoder import families as package
from tests.support.gguf_layouts import layout_of
from tests.support.gguf_presets import PRESETS, TINY

ROOT = Path(__file__).resolve().parents[2]


def test_each_file_is_a_family() -> None:
    files = {path.stem for path in Path(package.__file__).parent.glob("*.py")} - {"__init__"}
    assert len(files) == len({id(family) for family in ARCHITECTURES.values()})


def test_each_architecture_has_a_tiny_size() -> None:
    assert {shape.architecture for shape in TINY.values()} == set(ARCHITECTURES)


@pytest.mark.parametrize("name", [*TINY, *PRESETS])
def test_tensors_have_the_names_of_the_gguf_package(name: str) -> None:
    shape = (TINY | PRESETS)[name]
    kind = next(kind for kind, known in gguf.MODEL_ARCH_NAMES.items() if known == shape.architecture)
    known = {gguf.TENSOR_NAMES[tensor] for tensor in gguf.MODEL_TENSORS[kind]}
    stems = {re.sub(r"^blk\.\d+\.", "blk.{bid}.", spec.name.rsplit(".", 1)[0]) for spec in layout_of(shape).tensors}
    assert stems - known == set()


def test_readme_lists_every_architecture() -> None:
    rows = [line for line in (ROOT / "README.md").read_text().splitlines() if "language models from a GGUF" in line]
    assert len(rows) == 1
    named = re.findall(r"`([^`]+)`", rows[0])
    assert named == sorted(ARCHITECTURES)


def test_decoders_need_no_exporter(run_python: Callable[[str], str]) -> None:
    """A machine with ExecuTorch's runtime alone makes test files, and decoders to compare with."""
    out = run_python("""
import sys
sys.modules["executorch.exir"] = None
from executorch_ggml.llm.decoder import ARCHITECTURES
from tests.support.make_gguf import write_gguf
print("llama" in ARCHITECTURES)
""")
    assert out.strip() == "True"
