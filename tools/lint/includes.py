"""Holds the ``#include``s of csrc/ against its layers: a room sees the rooms below it, none beside or above it.

    python tools/lint/includes.py [root]

Prints each offending line and exits with 1. A new folder under csrc/ has to be given a layer here first.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

LAYERS: tuple[frozenset[str], ...] = tuple(
    frozenset(rooms.split())
    for rooms in (
        "include ggml_ext",
        "util",
        "gguf ir device_rules",
        "devices",
        "kernels weights",
        "graph",
        "fusion",
        "engine",
        "program",
        "text delegate",
        "capi",
    )
)
"""Rooms from the ground up. Rooms of one layer do not see each other."""

APART = {"cuda": frozenset({"fusion", "ggml_ext"}), "tools": frozenset({"include"})}
"""Rooms that are linked apart from the library: the CUDA kernels, and programs that see the C ABI as a user's would."""

_INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
_SUFFIXES = {".h", ".cpp", ".cuh", ".cu"}


def problems(csrc: Path) -> Iterator[str]:
    """One line for each include that goes sideways or up, and for each folder that has no layer."""
    height = {room: layer for layer, rooms in enumerate(LAYERS) for room in rooms}
    for folder in sorted({p.relative_to(csrc).parts[0] for p in csrc.rglob("*") if p.is_file()}):
        if folder not in height and folder not in APART:
            yield f"{csrc / folder}: this room has no layer in tools/lint/includes.py"
    for path in sorted(p for p in csrc.rglob("*") if p.suffix in _SUFFIXES):
        room = path.relative_to(csrc).parts[0]
        text = path.read_text(encoding="utf-8")
        for match in _INCLUDE.finditer(text):
            target = _target(csrc, path, match[1])
            if target is None or target == room or _allowed(room, target, height):
                continue
            line = text.count("\n", 0, match.start(1)) + 1
            yield f"{path}:{line}: {room}/ includes {match[1]}, but {target}/ is not below it"


def _target(csrc: Path, path: Path, name: str) -> str | None:
    """The room of an included file; None when it is not one of ours."""
    for candidate in (csrc / name, path.parent / name, csrc / "include" / name):
        resolved = candidate.resolve()
        if resolved.is_file() and resolved.is_relative_to(csrc.resolve()):
            return resolved.relative_to(csrc.resolve()).parts[0]
    return None


def _allowed(room: str, target: str, height: dict[str, int]) -> bool:
    if room in APART:
        return target in APART[room]
    return target in height and room in height and height[target] < height[room]


def main(arguments: list[str]) -> int:
    """Exit status: 0 when every include goes down."""
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parents[2]
    found = list(problems(root / "csrc"))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
