"""Each room of csrc has the namespace of its name, so that a qualified name says where it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parents[2] / "csrc"
SHARED = {
    "kernels": "graph",
    "fusion": "graph",
    "device_rules": "graph",
}  # rooms that still have the namespace of another

BLOCK = re.compile(r"^namespace etggml::(\w+)[\w:]* \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
FORWARD = re.compile(r"(?:\s*(?:class|struct|enum class) \w+(?: : \w+)?;|\s*//[^\n]*)*\s*")

pytestmark = pytest.mark.quick


def foreign(source: str, room: str) -> list[str]:
    """The namespaces of other rooms in which a file declares more than names of types."""
    own = {room, SHARED.get(room)}
    return [name for name, body in BLOCK.findall(source) if name not in own and not FORWARD.fullmatch(body)]


@pytest.mark.parametrize("room", ["capi", "delegate", "devices", "engine", "gguf", "program", "text", "weights"])
def test_namespace_of_a_room(room: str) -> None:
    files = [path for path in sorted((CSRC / room).rglob("*")) if path.suffix in (".h", ".cpp")]
    assert files
    assert not {path.name: found for path in files if (found := foreign(path.read_text("utf-8"), room))}


def test_definitions_of_another_room_are_found() -> None:
    assert foreign("namespace etggml::engine {\nclass Engine;\n}\n", "program") == []
    assert foreign("namespace etggml::engine {\nint run();\n}\n", "program") == ["engine"]
