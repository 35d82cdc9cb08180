"""Threads and memory that run out: a typed error, and the next call is right."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from plugin_site import compile_shared
from shared_models import Mlp, TinyLlm

RUN = Callable[[str], str]
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="LD_PRELOAD and RLIMIT_AS")


def ends(code: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, timeout=100,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr[-500:]


@pytest.mark.parametrize("left", [0, 2])
def test_no_threads_are_left(mlp: Mlp, tmp_path: Path, left: int) -> None:
    """Also when some can be started: they are ended again."""
    library = tmp_path / "libno_threads.so"
    compile_shared(library, "no_threads.c", "-ldl")
    code = f"""
import ctypes, os, numpy as np
from executorch_ggml.runtime import _load
from executorch_ggml.runtime.program import Program
from executorch_ggml.errors import OutOfMemoryError
_load.library()
libc = ctypes.CDLL(None)
libc.setenv(b"NOTHREADS", b"{left}", 1)
try:
    Program({str(mlp.pte)!r}, threads=4)
except OutOfMemoryError as error:
    print("threads" in str(error))
print(Program({str(mlp.pte)!r}, threads=1)(np.ones((2, 8), np.float32))[0].shape)
libc.unsetenv(b"NOTHREADS")
program = Program({str(mlp.pte)!r}, threads=4)
print(program(np.ones((2, 8), np.float32))[0].shape, len(os.listdir("/proc/self/task")))
"""
    rc, out = ends(code, LD_PRELOAD=str(library), OMP_NUM_THREADS="1")
    assert (rc, out) == (0, "True\n(2, 4)\n(2, 4) 4\n")


LIMITED = """
import os, resource, sys
import numpy as np
from executorch_ggml.llm.module import GGUFModule
from executorch_ggml.errors import GgmlError
module = GGUFModule({pte!r}, {gguf!r}, threads={threads})
ids, pos = (np.arange(90)[None] * 7) % 2000, np.arange(90)
want = GGUFModule({pte!r}, {gguf!r}, threads={threads}).forward(ids, pos)[0]
said = set()
for limit in range(0, 3 << 20, 192 << 10):
    pid = os.fork()
    if pid == 0:
        module.forward(ids[:, :1], pos[:1])
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        used = int(open("/proc/self/statm").read().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (used + limit, -1))
        code = 1
        try:
            module.forward(ids, pos)
        except (GgmlError, MemoryError):
            code = 2
        resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
        module.reset()
        code += 0 if np.array_equal(module.forward(ids, pos)[0], want) else 10
        os._exit(code)
    said.add(os.waitpid(pid, 0)[1])
assert said <= {{1 << 8, 2 << 8}}, said
print(len(said))
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_memory_runs_out_in_a_call(bundled: TinyLlm, threads: int) -> None:
    """In the thread of the call or in another: never the end of the process, and the next result is right."""
    rc, out = ends(LIMITED.format(pte=str(bundled.pte), gguf=str(bundled.gguf), threads=threads))
    assert rc == 0, out
    assert threads == 2 or out == "2\n"  # some limits were too small and some were not


def test_memory_runs_out_in_the_first_load(mlp: Mlp) -> None:
    """ggml's CPU module cannot be loaded then; with memory again it can."""
    code = f"""
import resource
from executorch_ggml.runtime import _load
from executorch_ggml.runtime.program import Program
from executorch_ggml.errors import GgmlError, OutOfMemoryError
_load.library()
used = int(open("/proc/self/statm").read().split()[0]) * 4096
def load():
    try:
        Program({str(mlp.pte)!r}, threads=1, methods=["forward"]).close()
    except (OutOfMemoryError, MemoryError):
        return "memory"
    return "ok"
resource.setrlimit(resource.RLIMIT_AS, (used + (1000 << 10), -1))
first = load()
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
print(first, load())
"""
    rc, out = ends(code)
    assert (rc, out) == (0, "memory ok\n")


def test_the_interpreter_ends_during_a_load(mlp: Mlp) -> None:
    """Python ends the daemon thread in the callback, by unwinding the library's frames."""
    load = f"Program({str(mlp.bare_pte)!r}, {str(mlp.gguf)!r}, threads=1, methods=['forward'], progress=slow)"
    for call in (load, f"payloads({str(mlp.pte)!r})"):
        code = f"""
import threading, time
from executorch_ggml.runtime.program import Program, payloads
def slow(_): time.sleep(0.01)
def work():
    while True:
        {call}
threading.Thread(target=work, daemon=True).start()
time.sleep(0.3)
"""
        for _ in range(2):
            assert ends(code) == (0, "")
