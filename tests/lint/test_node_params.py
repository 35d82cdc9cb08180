"""Parameters of ggml's nodes are read by position in one header, which a test holds against ggml."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.quick

CSRC = Path(__file__).resolve().parents[2] / "csrc"
HOME = "device_rules/node_params.h"
OURS = {"kernels/custom_op.h", "kernels/conv.cpp", "kernels/recurrence.cpp", "fusion/fuse.cpp"}
"""Files that keep data of ours in a custom node, behind ggml's own head of it."""

_READ = re.compile(r"\bop_params\b|\b(?:int|float)_param\(|\bggml_get_op_params_")


def test_positions_are_known_in_one_place() -> None:
    found = set()
    for path in CSRC.rglob("*"):
        if path.suffix not in {".h", ".cpp", ".cu", ".cuh"}:
            continue
        lines = (line.partition("//")[0] for line in path.read_text(encoding="utf-8").splitlines())
        if any(_READ.search(line) for line in lines):
            found.add(path.relative_to(CSRC).as_posix())
    assert found == {HOME, *OURS}
