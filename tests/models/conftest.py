"""Tiny GGUF files and their graphs, written once a session."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
for path in (str(ROOT), str(Path(__file__).parent)):
    if path not in sys.path:
        sys.path.insert(0, path)

from tiny import MAX_SEQ_LEN  # noqa: E402

from tests.support.make_gguf import write_gguf  # noqa: E402


def _missing(*packages: str) -> bool:
    return any(importlib.util.find_spec(name) is None for name in packages)


# torch is needed to export and to compare, transformers only for the independent reference.
_WITH_TORCH = ["test_gguf_export.py", "test_gguf_native.py", "test_model_config.py", "test_state_kinds.py"]
collect_ignore = _WITH_TORCH if _missing("torch") else []
if _missing("torch", "transformers"):
    collect_ignore.append("test_model_reference.py")

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


@pytest.fixture(scope="session")
def exported(make_gguf: MakeGguf, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """exported("qwen3", full_logits=True) -> path of the `.pte` for MAX_SEQ_LEN, made from the F32 file, once."""
    folder = tmp_path_factory.mktemp("pte")
    made: dict[str, Path] = {}

    def export(arch: str, *, full_logits: bool = False, **fields: object) -> Path:
        from executorch_ggml.llm.export import GGUFExportConfig, export_gguf_to_pte

        key = repr((arch, full_logits, sorted(fields.items())))
        if key not in made:
            path = folder / f"{len(made)}-{arch}.pte"
            config = GGUFExportConfig(max_seq_len=MAX_SEQ_LEN, full_logits=full_logits)
            export_gguf_to_pte(make_gguf(arch, **fields), path, config)
            made[key] = path
        return made[key]

    return export
