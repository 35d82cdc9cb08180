"""A host that closes all file descriptors, to become a daemon: what is loaded goes on, and nothing else is closed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from shared_models import Mlp, TinyLlm

REUSES = {"free": "[]", "other files": "[os.open(os.devnull, os.O_RDONLY) for _ in range(24)]"}


@pytest.mark.parametrize("reuse", REUSES)
def test_programs_survive_closed_descriptors(run_python: Callable[[str], str], bundled: TinyLlm, reuse: str) -> None:
    """Methods that are loaded later, plans that are made anew, and files that are freed."""
    out = run_python(f"""
import gc, os
import numpy as np
from executorch_ggml.llm.module import GGUFModule
def logits(module, n):
    return module.forward(np.arange(n)[None], np.arange(n))[0].copy()
module = GGUFModule({str(bundled.pte)!r}, {str(bundled.gguf)!r}, threads=1)
want, text = logits(module, 3), module.generate("A", max_tokens=4, ignore_end=True).read()
module = GGUFModule({str(bundled.pte)!r}, {str(bundled.gguf)!r}, threads=1)
os.closerange(3, 256)
foreign = {REUSES[reuse]}
assert np.array_equal(logits(module, 3), want)
assert module.generate("A", max_tokens=4, ignore_end=True).read() == text
logits(module, 5)
other = GGUFModule({str(bundled.pte)!r}, {str(bundled.gguf)!r}, threads=1)
assert np.array_equal(logits(other, 3), want)
del module, other
gc.collect()
for descriptor in foreign:
    os.fstat(descriptor)
print("done")
""")
    assert out.strip() == "done"


def test_a_program_whose_file_is_gone_as_well_says_so(run_python: Callable[[str], str], mlp: Mlp) -> None:
    out = run_python(f"""
import os, shutil, tempfile
import numpy as np
from executorch_ggml.errors import FileError
from executorch_ggml.runtime.program import Program
path = os.path.join(tempfile.mkdtemp(), "served.pte")
shutil.copy({str(mlp.pte)!r}, path)
program = Program(path, threads=1)
os.closerange(3, 256)
os.unlink(path)
try:
    program(np.ones((2, 8), np.float32))
except FileError as error:
    print(error)
""")
    assert "descriptor was closed" in out
