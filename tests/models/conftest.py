"""Tiny GGUF files, written once a session."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
for path in (str(ROOT), str(Path(__file__).parent)):
    if path not in sys.path:
        sys.path.insert(0, path)

pytest.importorskip("gguf")

from benchmarks.make_gguf import write_gguf  # noqa: E402

MakeGguf = Callable[..., Path]


@pytest.fixture(scope="session")
def make_gguf(tmp_path_factory: pytest.TempPathFactory) -> MakeGguf:
    """make_gguf("qwen3", type="q8_0", layers=3, ...) -> path; equal arguments give the same file."""
    folder = tmp_path_factory.mktemp("gguf")
    made: dict[str, Path] = {}

    def make(arch: str, *, type: str = "f32", **options: object) -> Path:
        key = repr((arch, type, sorted(options.items())))
        if key not in made:
            path = folder / f"{len(made)}-{arch}-{type}.gguf"
            made[key] = write_gguf(path, arch=arch, type=type, **options)[0]  # type: ignore[arg-type]
        return made[key]

    return make
