"""Log lines of the library arrive at the logger "executorch_ggml", and nothing reaches stderr."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from shared_models import Mlp, child

pytestmark = pytest.mark.quick


def test_log_lines_reach_logging(run_python: Callable[[str], str]) -> None:
    out = run_python("""
import logging, sys
lines = []
class Keep(logging.Handler):
    def emit(self, record):
        lines.append((record.name, record.levelno, record.getMessage()))
logger = logging.getLogger("executorch_ggml")
logger.addHandler(Keep())
logger.setLevel(logging.DEBUG)
from executorch_ggml.runtime.devices import devices
assert devices()
assert lines and all(name == "executorch_ggml" for name, _, _ in lines)
print(any("loaded" in text for _, _, text in lines))
""")
    assert out.split() == ["True"]


def test_stderr_stays_empty(mlp: Mlp) -> None:
    code = f"""
import numpy as np
from executorch_ggml import GgmlError, GGUFFile, Program
program = Program({str(mlp.pte)!r}, threads=1)
program.execute("forward", [np.zeros((2, 8), np.float32)])
for bad in ([np.zeros((2, 9), np.float32)], [np.zeros((2, 7), np.float32)], [np.zeros((2, 8))], []):
    try:
        program.execute("forward", bad)
    except GgmlError:
        pass
try:
    GGUFFile("/nowhere")
except GgmlError:
    pass
try:
    Program({str(mlp.bare_pte)!r}, threads=1)("x")
except GgmlError:
    pass
"""
    done = child("-c", code, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
