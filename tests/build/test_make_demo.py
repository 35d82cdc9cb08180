"""`make demo`: what it would do, as make prints it. Nothing is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.quick,
    pytest.mark.skipif(shutil.which("make") is None, reason="there is no make"),
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout in which nothing has been made yet."""
    for name in ("Makefile", "pyproject.toml", "build_backend.py", "third-party/lock.json", ".ci/packages"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def recipe(tree: Path, target: str) -> str:
    return subprocess.run(["make", "-n", target], cwd=tree, capture_output=True, text=True, check=True).stdout


def test_the_demo_installs_no_test_dependencies(tree: Path) -> None:
    demo = recipe(tree, "demo")
    assert "[export]" in demo
    for word in ("[docs,test]", "torchvision", "minilm", "EXECUTORCH_GGML_TESTS"):
        assert word not in demo, word
        assert word in recipe(tree, "setup"), word


def test_a_full_setup_serves_the_demo_too(tree: Path) -> None:
    assert re.search(r"^touch .*\.venv/\.demo", recipe(tree, "setup"), re.MULTILINE)


def test_options_of_pip_are_those_of_debians(tree: Path) -> None:
    """pip 23.0 knows --config-settings by its long name only."""
    assert " -C " not in recipe(tree, "setup") + recipe(tree, "demo")


def test_recipes_are_not_echoed() -> None:
    rules = re.findall(r"^(?:\.venv/\.stamp|\.venv/\.demo|build|demo):.*\n\t(.)", (ROOT / "Makefile").read_text(), re.M)
    assert rules == ["@"] * 4
