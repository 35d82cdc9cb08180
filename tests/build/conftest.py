"""Tests of the build itself: the PEP 517 backend and the fetching of foreign sources. Nothing here compiles."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What the backend reads besides the sources it packs.
TREE_FILES = ("pyproject.toml", "build_backend.py", "README.md", "LICENSE", "CMakeLists.txt")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        slow = any(item.get_closest_marker(name) for name in ("slow", "nightly"))
        if item.path.parent == Path(__file__).parent and not slow:
            item.add_marker(pytest.mark.quick)


def load(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small source tree with the real metadata and a package of two files, not yet under git."""
    root = tmp_path / "tree"
    for name in TREE_FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, root / name)
    shutil.copytree(ROOT / "wheels", root / "wheels")
    package = root / "executorch_ggml"
    (package / "ops").mkdir(parents=True)
    (package / "__init__.py").write_text("x = 1\n")
    (package / "ops" / "basic.py").write_text("y = 2\n")
    (package / "py.typed").write_text("")
    (root / "executorch_ggml_cuda").mkdir()
    (root / "executorch_ggml_cuda" / "__init__.py").write_text("")
    # Left over from an editable install; must never be packed from here.
    (package / "lib").mkdir()
    (package / "lib" / "stale.py").write_text("")
    (package / "ir").mkdir()
    (package / "ir" / "_ggml_ir.py").write_text("stale = True\n")
    return root


@pytest.fixture
def backend(tree: Path) -> ModuleType:
    """The backend as it lies in `tree`."""
    return load(tree / "build_backend.py", "build_backend_under_test")


@pytest.fixture
def commit(tree: Path) -> Callable[..., None]:
    """Puts the named paths of `tree` under git."""

    def run(*paths: str) -> None:
        subprocess.run(["git", "init", "-q"], cwd=tree, check=True)
        subprocess.run(["git", "add", "-f", *paths], cwd=tree, check=True)

    return run


@pytest.fixture
def fetch() -> ModuleType:
    return load(ROOT / "third-party" / "fetch.py", "fetch_under_test")


@pytest.fixture
def patches(fetch: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The tool that edits patches, with `fetch` as its module of that name."""
    monkeypatch.setitem(sys.modules, "fetch", fetch)
    return load(ROOT / "third-party" / "patches.py", "patches_under_test")
