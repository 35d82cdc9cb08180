"""A program file that changes under a program that was loaded from it: FileError at the next call, not a signal."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from shared_models import Mlp

CHANGES = {
    "rewritten": "open(path, 'wb').write(bytes(len(content)))",
    "another program": "open(path, 'wb').write(content[:100] + content)",
    "truncated to nothing": "os.truncate(path, 0)",
    "truncated": "os.truncate(path, 100)",
    "one byte": "f = open(path, 'r+b'); f.seek(len(content) - 9); f.write(b'x'); f.close()",
}
CALLS = ["program(x)", "program.info()", "program.execute('forward', [x], copy=False)", "program.reset()"]


@pytest.mark.parametrize("change", CHANGES)
def test_a_served_program_changes(run_python: Callable[[str], str], mlp: Mlp, tmp_path: Path, change: str) -> None:
    path = tmp_path / "served.pte"
    path.write_bytes(mlp.pte.read_bytes())
    out = run_python(f"""
import os, time
import numpy as np
from executorch_ggml.runtime.program import Program
from executorch_ggml.errors import FileError
path = {str(path)!r}
content = open(path, "rb").read()
program, x = Program(path, threads=1), np.ones((2, 8), np.float32)
program(x)
time.sleep(0.02)  # a file's time has a grain
{CHANGES[change]}
for call in {CALLS!r}:
    try:
        eval(call)
        print("ran", call)
    except FileError as error:
        assert "served.pte" in str(error) and "changed" in str(error), error
program.close()
print("done")
""")
    assert out.strip() == "done"


TOUCHES = {
    "touched": "os.utime(path)",
    "an old time": "os.utime(path, (1, 1))",
    "opened for writing": "open(path, 'r+b').close(); os.utime(path)",
    "the same bytes again": "open(path, 'wb').write(content)",
    "a byte that it has": "f = open(path, 'r+b'); f.seek(9); f.write(content[9:10]); f.close()",
}


@pytest.mark.parametrize("touch", TOUCHES)
@pytest.mark.parametrize("which", ["pte", "gguf"])
def test_a_file_of_which_only_the_time_changes(
    run_python: Callable[[str], str], mlp: Mlp, tmp_path: Path, which: str, touch: str
) -> None:
    """The content is what was loaded, so nothing has to be refused; a change that follows is."""
    pte, gguf = tmp_path / "served.pte", tmp_path / "served.gguf"
    pte.write_bytes(mlp.bare_pte.read_bytes())
    gguf.write_bytes(mlp.gguf.read_bytes())
    out = run_python(f"""
import os, time
import numpy as np
from executorch_ggml.runtime.program import Program
from executorch_ggml.errors import FileError
path = {str(tmp_path / ("served." + which))!r}
content = open(path, "rb").read()
program, x = Program({str(pte)!r}, {str(gguf)!r}, threads=1), np.ones((2, 8), np.float32)
want = program(x)[0].tolist()
for _ in range(2):
    time.sleep(0.02)
    {TOUCHES[touch]}
    assert program(x)[0].tolist() == want
    again = Program({str(pte)!r}, {str(gguf)!r}, threads=1)
    assert again(x)[0].tolist() == want
time.sleep(0.02)
f = open(path, "r+b"); f.seek(len(content) - 5); f.write(bytes([content[-5] ^ 1])); f.close()
for _ in range(2):
    try:
        program(x)
        print("ran")
    except FileError as error:
        assert "changed" in str(error), error
print("done")
""")
    assert out.strip() == "done"


def test_a_program_that_is_replaced_goes_on(run_python: Callable[[str], str], mlp: Mlp, tmp_path: Path) -> None:
    """Another file under its name is another file."""
    path = tmp_path / "served.pte"
    path.write_bytes(mlp.pte.read_bytes())
    run_python(f"""
import os
import numpy as np
from executorch_ggml.runtime.program import Program
program, x = Program({str(path)!r}, threads=1), np.ones((2, 8), np.float32)
want = program(x)[0].tolist()
open({str(path) + ".new"!r}, "wb").write(b"something else")
os.replace({str(path) + ".new"!r}, {str(path)!r})
assert program(x)[0].tolist() == want
""")
    assert os.path.getsize(path) == len(b"something else")
