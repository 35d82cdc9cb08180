"""Tables: whole and plain wherever they are printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from executorch_ggml.errors.tables import table

pytestmark = pytest.mark.quick

ROOT = Path(__file__).resolve().parents[2]


def test_aligned() -> None:
    assert table([("a", 1), ("long name", 22)], ("name", "n"), right=(1,)).splitlines() == [
        "name        n",
        "a           1",
        "long name  22",
    ]
    assert table([("model", "x"), ("KV cache", "y")]) == "model     x\nKV cache  y"
    assert table([]) == ""
    assert table([], ("name", "n")) == "name  n"


def test_nothing_is_cut_off_or_folded() -> None:
    cells = ["x" * 5000, "a b " * 500 + "end", "[red]no markup[/red]", ":smile:", "/path/1.5/0x7f"]
    (line,) = table([cells]).splitlines()
    assert all(cell in line for cell in cells)


def test_text_of_files_is_harmless() -> None:
    assert table([("a\x1b[2J\n", "b\tc")]) == "a\\x1b[2J\\n  b\\tc"


def test_wide_characters_take_two_columns() -> None:
    assert table([("日本", "x"), ("abcd", "y")]).splitlines() == ["日本  x", "abcd  y"]


def test_rows_of_another_length() -> None:
    with pytest.raises(ValueError, match="a row of 1 cells in a table of 2 columns"):
        table([("a",)], ("name", "n"))


def test_the_same_in_a_pipe_whatever_the_environment_says() -> None:
    """rich colours and folds by these variables."""
    code = "from executorch_ggml.errors.tables import table; print(table([('device', 'y' * 300)], ('name', 'of what')))"
    said = []
    for extra in ({}, {"FORCE_COLOR": "1", "COLUMNS": "20", "TERM": "xterm-256color", "TTY_COMPATIBLE": "1"}):
        done = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | extra, cwd=ROOT, capture_output=True, text=True, check=True
        )
        said.append(done.stdout)
    assert said[0] == said[1]
    assert "y" * 300 in said[0]
    assert "\x1b" not in said[0]


def test_tables_have_one_layout() -> None:
    """Columns by hand come back where nobody looks."""
    padding = re.compile(r"\.[lr]just\(|[:{][<>]\{?(\w*width|w)\}|:[<>]\d\d+\}")
    sources = sorted((ROOT / "executorch_ggml").rglob("*.py"))
    assert [p.name for p in sources if padding.search(p.read_text("utf-8"))] == []
