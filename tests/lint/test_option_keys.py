"""docs/environment-variables.md lists every key of EXECUTORCH_GGML_OPTIONS, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.quick


def test_keys_of_the_options() -> None:
    page = (ROOT / "docs" / "environment-variables.md").read_text()
    table = page.split("Keys of `EXECUTORCH_GGML_OPTIONS`")[1].split("\n## ")[0]
    listed = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    source = (ROOT / "csrc" / "engine" / "options.cpp").read_text()
    known = re.findall(r'"(\w+)"', source.split("only_known_keys(")[1].split("}")[0])
    stock = re.findall(r'extract\(&merged, "(\w+)"', (ROOT / "csrc" / "delegate" / "settings.cpp").read_text())
    assert len(known) >= 9
    assert sorted(listed) == sorted({*known, *stock})
