"""Few doors and small rooms: entries at the top of the package, and sizes of source files."""

from __future__ import annotations

import statistics
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (".py", ".cpp", ".h", ".cu", ".cuh")

pytestmark = pytest.mark.quick


@pytest.fixture(scope="module")
def files() -> list[Path]:
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_entries_of_the_package(files: list[Path]) -> None:
    package = ROOT / "executorch_ggml"
    entries = {path.relative_to(package).parts[0] for path in files if path.is_relative_to(package)}
    assert len(entries) <= 12, sorted(entries)


def test_sizes_of_source_files(files: list[Path]) -> None:
    sizes = {path: path.stat().st_size for path in files if path.suffix in SOURCES}
    assert not {str(path.relative_to(ROOT)): size for path, size in sizes.items() if size > 30_000}
    assert statistics.median(sizes.values()) < 6_000
