"""fork(): a child computes what its parent does, or gets a typed error at once; the parent goes on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from shared_models import Mlp, TinyLlm

RUN = Callable[[str], str]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

# in_child(f): what f() gives in a forked child; a child that hangs is ended after 20 s, by a signal that shows.
HELPERS = """
import os, signal, threading, time
import numpy as np
from executorch_ggml.runtime.program import Program
from executorch_ggml.errors import GgmlError

def in_child(f):
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        try:
            out = str(f())
        except GgmlError as error:
            out = type(error).__name__ + ": " + str(error)
        os.write(w, out.encode())
        os._exit(0)
    os.close(w)
    text = os.read(r, 65536).decode()
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child ended with status {status}"
    return text
"""


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("used", [True, False], ids=["used", "loaded"])
def test_a_child_computes(run_python: RUN, mlp: Mlp, threads: int, used: bool) -> None:
    run_python(
        HELPERS
        + f"""
x = np.ones((2, 8), np.float32)
program = Program({str(mlp.pte)!r}, threads={threads}, methods=["forward"])
want = Program({str(mlp.pte)!r}, threads={threads})(x)[0].tolist()
if {used}:
    assert program(x)[0].tolist() == want
call = lambda: program(x)[0].tolist()
for _ in range(2):
    assert in_child(call) == str(want)
assert in_child(lambda: in_child(call)) == str(want)  # a child of a child
assert in_child(lambda: Program({str(mlp.pte)!r}, threads={threads})(x)[0].tolist()) == str(want)
assert call() == want
"""
    )


def test_a_child_generates(run_python: RUN, bundled: TinyLlm) -> None:
    run_python(
        HELPERS
        + f"""
from executorch_ggml.llm.module import GGUFModule
module = GGUFModule({str(bundled.pte)!r}, {str(bundled.gguf)!r}, threads=2)
text = lambda: module.generate("And it came", max_tokens=6).read()
want = text()
assert in_child(text) == want and text() == want
"""
    )


def test_executorchs_runtime_in_a_child(run_python: RUN, mlp: Mlp) -> None:
    run_python(
        HELPERS
        + f"""
import torch, executorch_ggml
executorch_ggml.register_backend()
from executorch.runtime import Runtime
method = Runtime.get().load_program({str(mlp.pte)!r}).load_method("forward")
x = torch.ones(2, 8)
want = method.execute([x])[0].tolist()
assert in_child(lambda: method.execute([x])[0].tolist()) == str(want)
assert method.execute([x])[0].tolist() == want
"""
    )


def test_a_fork_in_the_middle_of_a_call(run_python: RUN, slow_pte: Path, mlp: Mlp) -> None:
    """That call is lost, and says so; freeing its program does not wait for it; another program works."""
    out = run_python(
        HELPERS
        + f"""
x = np.ones((512, 1024), np.float32)
program = Program({str(slow_pte)!r}, threads=2, methods=["forward"])
results = []
thread = threading.Thread(target=lambda: results.append(program(x)[0]))
thread.start()
time.sleep(0.1)

def child():
    global program
    try:
        return "computed " + str(program(x)[0].shape)
    except GgmlError as error:
        said = type(error).__name__
    program.close()
    program = None
    return said + " " + str(Program({str(mlp.pte)!r}, threads=2)(np.ones((2, 8), np.float32))[0].shape)

began = time.monotonic()
said = in_child(child)
assert time.monotonic() - began < 15
assert thread.is_alive() or "computed" in said, said
thread.join()
assert len(results) == 1
print(said)
"""
    )
    assert out.strip() in {"DeviceError (2, 4)", "computed (512, 1024)"}


def test_a_child_ends_like_any_program(run_python: RUN, mlp: Mlp) -> None:
    out = run_python(
        HELPERS
        + f"""
import sys
program = Program({str(mlp.pte)!r}, threads=2)
program(np.ones((2, 8), np.float32))
pid = os.fork()
if pid == 0:
    signal.alarm(20)
    sys.exit(7)
print(os.WEXITSTATUS(os.waitpid(pid, 0)[1]))
"""
    )
    assert out.strip() == "7"
