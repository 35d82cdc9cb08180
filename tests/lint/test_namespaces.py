"""Each room of csrc has the namespace of its name, so that a qualified name says where it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parents[2] / "csrc"
WITHOUT = {"ggml_ext", "include", "tools", "util"}  # C, and what every room uses: etggml itself
# The interface between the CUDA module and the library; the module is built without the rest of fusion.
OF_CUDA = {"descriptors.h", "sample_params.h", "whole_caches.h"}
BLOCK = re.compile(r"^namespace etggml::(\w+)[\w:]* \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
FORWARD = re.compile(r"(?:\s*(?:class|struct|enum class) \w+(?: : \w+)?;|\s*//[^\n]*)*\s*")

pytestmark = pytest.mark.quick


def foreign(source: str, room: str) -> list[str]:
    """The namespaces of other rooms in which a file declares more than names of types."""
    return [name for name, body in BLOCK.findall(source) if name != room and not FORWARD.fullmatch(body)]


ROOMS = sorted(path.name for path in CSRC.iterdir() if path.is_dir() and path.name not in WITHOUT)


@pytest.mark.parametrize("room", ROOMS)
def test_namespace_of_a_room(room: str) -> None:
    files = [path for path in sorted((CSRC / room).rglob("*")) if path.suffix in (".h", ".cpp", ".cu", ".cuh")]
    assert files
    wrong = {path.name: found for path in files if (found := foreign(path.read_text("utf-8"), room))}
    assert wrong == ({name: ["cuda"] for name in OF_CUDA} if room == "fusion" else {})


def test_definitions_of_another_room_are_found() -> None:
    assert foreign("namespace etggml::engine {\nclass Engine;\n}\n", "program") == []
    assert foreign("namespace etggml::engine {\nint run();\n}\n", "program") == ["engine"]
