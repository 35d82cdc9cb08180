"""Signals while the library runs: the call ends within a moment, and what the handler raised is raised."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from shared_models import Mlp, TinyLlm

from executorch_ggml.llm.module import GGUFModule
from executorch_ggml.runtime import _interrupt
from executorch_ggml.runtime.program import Program

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers here")


class Interrupt(BaseException):  # as KeyboardInterrupt: logging swallows an Exception that hits it
    pass


@contextmanager
def alarm(seconds: float) -> Iterator[list[float]]:
    """Raises Interrupt in the main thread after that time; gives the times at which it did."""
    fired: list[float] = []

    def handler(*_: object) -> None:
        fired.append(time.monotonic())
        raise Interrupt

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield fired
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_call_ends_in_its_middle(slow_pte: Path) -> None:
    x = np.ones((512, 1024), np.float32)
    with Program(slow_pte, threads=1) as program:
        want = program(x)[0]
        began = time.monotonic()
        program(x)
        whole = time.monotonic() - began
        with alarm(whole / 4) as fired, pytest.raises(Interrupt):
            program(x)
        # The handler runs when a call asks, about every 50 ms.
        assert fired[0] - began < 2 * whole + 1
        assert np.array_equal(program(x)[0], want)


def test_no_interrupt_in_a_prompt_is_lost(bundled: TinyLlm) -> None:
    """With a chunk for every token there is a callback every few hundred microseconds, in which most signals arrive."""
    module = GGUFModule(bundled.pte, bundled.gguf, threads=1)
    lost = 0
    for attempt in range(12):
        generation = module.generate([5] * 90, max_tokens=1, max_chunk=1, ignore_end=True)
        try:  # around the alarm too: a busy machine may be late in getting to the call
            with alarm(0.002 + 0.0015 * attempt) as fired:
                generation.read()
        except Interrupt:
            continue
        lost += len(fired)
    assert lost == 0


def load_for_long(mlp: Mlp) -> None:
    began = time.monotonic()
    while time.monotonic() - began < 5:
        Program(mlp.bare_pte, mlp.gguf, threads=1, methods=["forward"], progress=lambda _: None).close()


def test_no_interrupt_in_a_load_is_lost(mlp: Mlp, caplog: pytest.LogCaptureFixture) -> None:
    """Log lines and progress are callbacks too."""
    caplog.set_level("DEBUG", logger="executorch_ggml")
    for attempt in range(12):
        with pytest.raises(Interrupt), alarm(0.001 + 0.0007 * attempt):
            load_for_long(mlp)
    assert _interrupt.kept is None
    assert not _interrupt.stop.value


def test_no_interrupt_in_the_garbage_collector_is_lost(mlp: Mlp) -> None:
    """Others add callbacks to it (hypothesis does). Python ignores what is raised in one."""

    def slow(_phase: str, _info: object) -> None:
        until = time.monotonic() + 0.0005
        while time.monotonic() < until:
            pass

    threshold = gc.get_threshold()
    gc.callbacks.append(slow)
    gc.set_threshold(50)
    try:
        for attempt in range(12):
            with pytest.raises(Interrupt), alarm(0.001 + 0.0007 * attempt):
                load_for_long(mlp)
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.remove(slow)
    assert _interrupt.kept is None


def test_ctrl_c_ends_a_process(mlp: Mlp) -> None:
    """As a shell sends it: no traceback of ctypes, and KeyboardInterrupt where the program can see it."""
    code = f"""
import signal
import numpy as np
from executorch_ggml.runtime.program import Program
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background begins with it ignored
print("ready", flush=True)
try:
    while True:
        Program({str(mlp.bare_pte)!r}, {str(mlp.gguf)!r}, threads=1, methods=["forward"]).close()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    for attempt in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.1 + 0.017 * attempt)
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()
        assert (out, err) == ("interrupted\n", "")


def test_a_handler_that_raises_nothing_runs_during_a_call(slow_pte: Path) -> None:
    ran: list[float] = []
    before = signal.signal(signal.SIGALRM, lambda *_: ran.append(time.monotonic()))
    x = np.ones((512, 1024), np.float32)
    try:
        with Program(slow_pte, threads=1, methods=["forward"]) as program:
            signal.setitimer(signal.ITIMER_REAL, 0.03)
            program(x)
            ended = time.monotonic()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert ran
    assert ran[0] < ended


def test_other_unraisable_exceptions_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)
    _interrupt.arm()

    class Broken:
        def __del__(self) -> None:
            raise ValueError

    Broken()
    assert len(seen) == 1
    assert _interrupt.kept is None


def test_nothing_of_ours_is_forgotten_in_python(mlp: Mlp) -> None:
    """A weak reference with a callback in Python loses what a signal's handler raises in it."""
    with Program(mlp.pte, threads=1) as program:
        callbacks = [ref.__callback__ for ref in weakref.getweakrefs(program._handle)]
    # What is raised in weakref.finalize reaches the hook.
    assert {type(callback) for callback in callbacks} <= {weakref.finalize, type(None)}
