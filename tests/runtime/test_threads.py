"""One program, many threads; many programs, many threads; and ends: cancel, close, exit of the interpreter."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from shared_models import Mlp

from executorch_ggml.errors import BusyError, CancelledError, GgmlError
from executorch_ggml.runtime import _abi, _arrays, _load
from executorch_ggml.runtime.gguf_file import GGUFFile
from executorch_ggml.runtime.program import Program

SLOW_INPUT = np.random.default_rng(0).standard_normal((512, 1024)).astype(np.float32)


class Background:
    """A call of a slow program in another thread; `result` is its output or what it raised."""

    def __init__(self, program: Program) -> None:
        self.result: object = None
        self.started = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(program,))
        self.thread.start()
        self.started.wait()

    def _run(self, program: Program) -> None:
        try:
            self.started.set()
            self.result = program(SLOW_INPUT)[0]
        except GgmlError as raised:
            self.result = raised

    def wait_until_inside(self, program: Program) -> None:
        deadline = time.monotonic() + 30
        while not program._lock.locked():
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def join(self) -> object:
        self.thread.join(120)
        assert not self.thread.is_alive()
        return self.result


def test_second_thread_is_refused(slow_pte: Path) -> None:
    with Program(slow_pte, threads=1) as program:
        (want,) = program(SLOW_INPUT)
        call = Background(program)
        call.wait_until_inside(program)
        for use in (lambda: program(SLOW_INPUT), program.info, program.reset, program.close):
            with pytest.raises(BusyError, match=r"slow\.pte.*another thread"):
                use()
        assert np.array_equal(call.join(), want)  # type: ignore[arg-type]
        assert np.array_equal(program(SLOW_INPUT)[0], want)


def test_the_library_refuses_too(slow_pte: Path) -> None:
    """C and C++ users have no lock of Python's in front of the library's."""
    with Program(slow_pte, threads=1) as program:
        program(SLOW_INPUT)
        lib, inputs, together = _load.library(), _arrays.Inputs([SLOW_INPUT]), threading.Barrier(2)

        def execute(_index: int) -> int:
            out, count = (_abi.Tensor * 4)(), ctypes.c_size_t(4)
            together.wait()  # either call takes far longer than both need to start
            handle = program.handle.pointer
            return int(lib.etggml_program_execute(handle, b"forward", inputs.array, 1, out, ctypes.byref(count)))

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(execute, range(2))) == [0, BusyError.status]


def test_cancel(slow_pte: Path) -> None:
    with Program(slow_pte, threads=1) as program:
        program.cancel()  # nothing runs: nothing happens
        started = time.monotonic()
        (want,) = program(SLOW_INPUT)
        alone = time.monotonic() - started
        call = Background(program)
        call.wait_until_inside(program)
        time.sleep(min(0.02, alone / 10))  # from Python into the computation
        program.cancel()
        assert isinstance(call.join(), CancelledError)
        assert np.array_equal(program(SLOW_INPUT)[0], want)


def test_programs_in_parallel_give_what_they_give_alone(mlp: Mlp) -> None:
    file = GGUFFile(mlp.gguf)
    inputs = [np.random.default_rng(i).standard_normal((1 + i % 16, 8)).astype(np.float32) for i in range(100)]
    with Program(mlp.bare_pte, file, threads=1) as program:
        want = [program(x)[0] for x in inputs]

    def work(_index: int) -> bool:
        with Program(mlp.bare_pte, file, threads=1) as mine:
            return all(np.array_equal(mine(x)[0], y) for x, y in zip(inputs, want, strict=True))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_states_are_a_programs_own(counter_pte: Path) -> None:
    one = np.ones(4, np.float32)
    with Program(counter_pte, threads=1) as a, Program(counter_pte, threads=1) as b:
        assert [float(a(one)[0][0]) for _ in range(3)] == [1, 2, 3]
        assert float(b(one)[0][0]) == 1
        a.reset()
        assert float(a(one)[0][0]) == 1
        assert float(b(one)[0][0]) == 2
        assert len(a.info()["states"]) == 1


def test_a_refused_call_leaves_the_state(counter_pte: Path) -> None:
    one = np.ones(4, np.float32)
    with Program(counter_pte, threads=1) as program:
        program(one)
        with pytest.raises(GgmlError):
            program(np.ones(5, np.float32))
        with pytest.raises(GgmlError):
            program(np.ones(4, np.int32))
        assert float(program(one)[0][0]) == 2


def test_exit_while_computing(slow_pte: Path, run_python: Callable[[str], str]) -> None:
    """A daemon thread inside the library does not hang or crash the end of the interpreter."""
    out = run_python(f"""
import threading, time
import numpy as np
from executorch_ggml.runtime.program import Program
program = Program({str(slow_pte)!r}, threads=2)
x = np.zeros((512, 1024), np.float32)
def work():
    while True:
        program(x)
threading.Thread(target=work, daemon=True).start()
while not program._lock.locked():
    time.sleep(0.001)
time.sleep(0.05)
print("end")
""")
    assert out == "end\n"


CYCLES = """
import gc, os, threading
from pathlib import Path
import numpy as np
from executorch_ggml import Program

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def open_files():
    names = []
    for entry in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink("/proc/self/fd/" + entry))
        except FileNotFoundError:  # that of the listing itself
            pass
    return sorted(names)

def cycle(times):
    for _ in range(times):
        with Program({pte!r}, {gguf!r}, threads=1) as program:
            program(np.zeros((2, 8), np.float32))
    gc.collect()

other = Program({pte!r}, {gguf!r}, threads=1)  # of the same file, alive all the time
cycle(30)
before, files = resident(), open_files()
threads = threading.active_count(), len(os.listdir("/proc/self/task"))
cycle(200)
assert open_files() == files, open_files()
assert (threading.active_count(), len(os.listdir("/proc/self/task"))) == threads
assert resident() - before < 2 << 20, resident() - before
print("done")
"""


def test_load_and_free_leaks_nothing(mlp: Mlp, run_python: Callable[[str], str]) -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    assert run_python(CYCLES.format(pte=str(mlp.bare_pte), gguf=str(mlp.gguf))).strip() == "done"
