"""ExecuTorch's own runtime puts its log and its handler of aborts in our place when it is imported; ours come back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

BEFORE = "from executorch_ggml import Program\nProgram({good!r}, threads=1)\n"
AFTER = """
import sys
import executorch.runtime
from executorch_ggml import Program
from executorch_ggml.errors import FormatError
try:
    Program({bad!r}, threads=1)
except FormatError as error:
    print(error)
sys.stderr.flush()
"""


@pytest.mark.parametrize("first", ["", BEFORE], ids=["executorch first", "ours first"])
def test_errors_keep_their_reason(first: str, mlp: object, tmp_path: Path, run_python: Callable[[str], str]) -> None:
    good = Path(mlp.pte)  # type: ignore[attr-defined]
    bad = tmp_path / "cut.pte"
    bad.write_bytes(good.read_bytes()[:-1000])
    text = run_python((first + AFTER).format(good=str(good), bad=str(bad)))
    assert "File size is too small" in text, text


def test_other_lines_go_where_they_went(mlp: object, tmp_path: Path) -> None:
    """A fault that ExecuTorch's own runtime finds is still logged by ExecuTorch, not swallowed by us."""
    good = Path(mlp.pte)  # type: ignore[attr-defined]
    bad = tmp_path / "cut.pte"
    bad.write_bytes(good.read_bytes()[:-1000])
    code = (
        "import executorch.runtime as er\nfrom executorch_ggml import Program\n"
        f"Program({str(good)!r}, threads=1)\n"
        f"try:\n    er.Runtime.get().load_program({str(bad)!r})\nexcept Exception as e:\n    print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "refused" in done.stdout
    assert "File size is too small" in done.stderr
    assert "register_pal" not in done.stderr
