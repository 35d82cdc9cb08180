"""Signals in the middle of one operation that takes seconds: the call ends within a moment, and the next is right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from shared_models import lower_to_file

ROWS = 1 << 14


@pytest.fixture(scope="module")
def product_pte(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """x float32 [1..16384, 4096] -> one product with a matrix of 4096 rows."""
    import torch
    from torch import nn

    dynamic = ({0: torch.export.Dim("rows", min=1, max=ROWS)},)
    path = tmp_path_factory.mktemp("product") / "product.pte"
    return lower_to_file(nn.Linear(4096, 4096, bias=False), (torch.randn(8, 4096),), path, dynamic=dynamic)


CHILD = """
import signal, time
import numpy as np
from executorch_ggml.program import Program

class Interrupt(BaseException):
    pass

def handler(*_):
    fired.append(time.monotonic())
    raise Interrupt

fired = []
signal.signal(signal.SIGALRM, handler)
rng = np.random.default_rng(0)
with Program({path!r}, threads={threads}) as program:
    few = rng.standard_normal((256, 4096), np.float32)
    want = program(few)[0]
    began = time.monotonic()
    program(few)
    row = (time.monotonic() - began) / len(few)
    # Long enough that a call which does not end early is seen, on any machine.
    many = np.tile(few, (min({rows}, max(256, int(4 / row))) // 256, 1))
    print("expected", len(many) * row)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        program(many)
        print("not interrupted")
    except Interrupt:
        print("late" if time.monotonic() - fired[-1] > 1 else "in time")
    assert np.array_equal(program(few)[0], want)
"""


@pytest.mark.parametrize(("kernels", "threads"), [("", 1), ("none", 2)])
def test_a_product_ends_in_its_middle(
    run_python: Callable[[str], str],
    product_pte: Path,
    monkeypatch: pytest.MonkeyPatch,
    kernels: str,
    threads: int,
) -> None:
    monkeypatch.setenv("EXECUTORCH_GGML_KERNELS", kernels)
    out = run_python(CHILD.format(path=str(product_pte), threads=threads, rows=ROWS)).split("\n")
    if float(out[0].split()[1]) < 1.5:
        pytest.skip("this machine computes the largest product too fast")
    assert out[1] == "in time"


def test_quantising_ends_in_its_middle(run_python: Callable[[str], str]) -> None:
    """Export quantises weights by a call of the library, which can take a minute for one matrix."""
    out = run_python("""
import signal, time
import numpy as np
from executorch_ggml.types import quantize
def handler(*_):
    global fired
    fired = time.monotonic()
    raise KeyboardInterrupt
signal.signal(signal.SIGALRM, handler)
weights = np.random.default_rng(0).standard_normal((4096, 4096), np.float32)
signal.setitimer(signal.ITIMER_REAL, 0.3)
try:
    quantize(weights, "IQ3_S")
    print("not interrupted")
except KeyboardInterrupt:
    print("late" if time.monotonic() - fired > 1 else "in time")
""")
    assert out.strip() == "in time"


@pytest.fixture(scope="module")
def host_pte(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """x int64 [1 << 20] -> some hundred operators on it that stay with ExecuTorch, and a state that counts calls."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(1, dtype=torch.int64))

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            self.calls.add_(1)
            for i in range(150):
                x = x * 3 + i
            return x, self.calls + 0

    return lower_to_file(
        Net(), (torch.zeros(1 << 20, dtype=torch.int64),), tmp_path_factory.mktemp("host") / "host.pte"
    )


def test_operators_of_executorch_end_between_two(run_python: Callable[[str], str], host_pte: Path) -> None:
    out = run_python(f"""
import signal, time
import numpy as np
from executorch_ggml.program import Program
def handler(*_):
    global fired
    fired = time.monotonic()
    raise KeyboardInterrupt
signal.signal(signal.SIGALRM, handler)
x = np.arange(1 << 20)
with Program({str(host_pte)!r}, threads=1) as program:
    began = time.monotonic()
    want, calls = program(x)
    whole = time.monotonic() - began
    signal.setitimer(signal.ITIMER_REAL, whole / 4)
    try:
        program(x)
        print("not interrupted")
    except KeyboardInterrupt:
        print("late" if time.monotonic() - fired > 0.5 + whole / 10 else "in time")
    again, calls = program(x)
    assert np.array_equal(again, want)
    print(int(calls[0]) in (2, 3))
""")
    assert out.split() == ["in", "time", "True"]
