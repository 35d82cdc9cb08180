"""The faults of ExecuTorch that we work around, each shown with ExecuTorch alone.

A test here that fails is good news: the version of ExecuTorch that is installed has the fault no more. Then remove the
workaround, and its row here (docs/updating-executorch.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from executorch.exir import EdgeCompileConfig, to_edge
from torch import nn
from torch.export import Dim, export
from torch.nn import functional as F

from executorch_ggml.runtime._load import EXECUTORCH_MIN

pytestmark = pytest.mark.filterwarnings("ignore")

PACKAGE = Path(__file__).resolve().parents[2] / "executorch_ggml"


class Apply(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any) -> Any:
        return self.function(*args)


def whole(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64)


def image(dtype: torch.dtype) -> torch.Tensor:
    return (torch.arange(16) * 15).reshape(1, 1, 4, 4).to(dtype)


def program(function: Callable[..., Any], inputs: tuple[Any, ...], sizes: Any = None) -> bytes:
    """A `.pte` without a delegate."""
    exported = export(Apply(function), inputs, dynamic_shapes=(sizes,) if sizes else None, strict=False)
    unchecked = EdgeCompileConfig(_check_ir_validity=False)  # it knows fewer operators than there are kernels
    return bytes(to_edge(exported, compile_config=unchecked).to_executorch().buffer)


def runs(pte: bytes, inputs: tuple[Any, ...]) -> Any:
    from executorch.runtime import Runtime

    return Runtime.get().load_program(pte).load_method("forward").execute(inputs)[0]


Case = tuple[str, Callable[..., Any], tuple[Any, ...]]

WRONG: dict[str, Case] = {
    "quotient of floats, rounded down": (
        "aot/passes/float_division.py",
        lambda x, y: torch.div(x, y, rounding_mode="floor"),
        (torch.tensor([-286.0]), torch.tensor([0.3])),
    ),
    "comparison with a tensor without dimensions": (
        "aot/passes/promoted_operands.py",
        torch.lt,
        (torch.tensor([1, 7], dtype=torch.uint8), torch.tensor(-3, dtype=torch.int32)),
    ),
    "remainder of integers": ("aot/passes/integer_division.py", torch.remainder, (whole(-7, 7), whole(3, -3))),
    "fmod of integers": ("aot/passes/integer_division.py", torch.fmod, (whole(2**53 + 1), whole(2))),
    "quotient of integers": (
        "aot/passes/integer_division.py",
        lambda x, y: torch.div(x, y, rounding_mode="trunc"),
        (whole(2**53 + 1), whole(1)),
    ),
    "power of integers": ("aot/passes/integer_powers.py", lambda x: x**2, (whole(2**27 + 1),)),
    "rounded integers": ("aot/passes/integer_powers.py", torch.floor, (whole(2**24 + 1),)),
    "sum of integers": ("aot/passes/integer_sums.py", lambda x: x.sum(0), (whole(2**24, 1),)),
    "sum with a factor that begins with a single element": (
        "aot/passes/scaled_sums.py",
        lambda x, y: torch.add(x, y, alpha=2),
        (torch.tensor([1.0]), torch.tensor([10.0, 20.0])),
    ),
    "sign of NaN": ("aot/passes/signs.py", torch.sign, (torch.tensor([float("nan")], dtype=torch.float64),)),
    "layer norm of doubles": (
        "aot/passes/float64_norms.py",
        lambda x: F.layer_norm(x, (3,)),
        (torch.tensor([1e6, 1e6 + 1, 1e6 + 3], dtype=torch.float64),),
    ),
    "bilinear image of bytes": (
        "aot/host_kernels.py",
        lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear"),
        (image(torch.uint8),),
    ),
    "smooth bilinear image of bytes": (
        "aot/host_kernels.py",
        lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear", antialias=True),
        (image(torch.uint8),),
    ),
    "places of a matrix": ("aot/host_kernels.py", torch.nonzero, (torch.tensor([[1.0, 0.0], [1.0, 1.0]]),)),
    "nearest image of the same size": (
        "aot/host_kernels.py",
        lambda x: F.interpolate(x, scale_factor=1.4, mode="nearest"),
        (torch.arange(4.0).reshape(1, 1, 2, 2),),
    ),
}

REFUSED: dict[str, Case] = {
    "shift": ("aot/passes/integer_powers.py", lambda x: x << 3, (whole(5),)),
    "negative padding": ("aot/host_kernels.py", lambda x: F.pad(x, (-1, 0)), (torch.arange(4.0),)),
    "log_softmax of doubles": (
        "aot/host_kernels.py",
        lambda x: torch.log_softmax(x, 0),
        (torch.ones(3, dtype=torch.float64),),
    ),
    "convolution of volumes": (
        "aot/host_kernels.py",
        lambda x, w: F.conv3d(x, w),
        (torch.ones(1, 1, 3, 3, 3), torch.ones(1, 1, 2, 2, 2)),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_it_still_computes_something_else(name: str) -> None:
    module, function, inputs = WRONG[name]
    got, want = runs(program(function, inputs), inputs), function(*inputs)
    assert not torch.equal(got, want), f"ExecuTorch computes this as torch does: {module} need not work around it"


@pytest.mark.parametrize("name", REFUSED)
def test_it_still_has_no_kernel_for(name: str) -> None:
    module, function, inputs = REFUSED[name]
    try:
        runs(program(function, inputs), inputs)
    except RuntimeError:
        return
    pytest.fail(f"ExecuTorch runs this: {module} need not work around it")


def test_it_still_takes_no_number() -> None:
    """aot/passes/integer_arguments.py"""
    pte = program(lambda x, n: x * n, (torch.ones(2), 3), (None, Dim.DYNAMIC))
    with pytest.raises(RuntimeError, match="set_inputs"):
        runs(pte, (torch.ones(2), 5))


def test_it_still_forgets_the_layout(tmp_path: Path, run_python: Callable[[str], str]) -> None:
    """runtime/stock_runtime.py; in a process without us, which would put it right."""
    x = torch.arange(12.0).reshape(1, 2, 2, 3)
    (tmp_path / "x.pte").write_bytes(program(lambda x: x * 1.0, (x,)))
    out = run_python(f"""
import torch
from executorch.runtime import Runtime
x = torch.arange(12.0).reshape(1, 2, 2, 3)
method = Runtime.get().load_program({str(tmp_path / "x.pte")!r}).load_method("forward")
print(torch.equal(x, method.execute((x.to(memory_format=torch.channels_last),))[0]))
""")
    assert out.split() == ["False"], "ExecuTorch keeps the layout: runtime/stock_runtime.py need not wrap it"


def test_every_workaround_has_its_fault_here() -> None:
    """A module that works around ExecuTorch says so at its head, with the version, and is in a table above."""
    shown = {row[0] for row in (*WRONG.values(), *REFUSED.values())}
    shown |= {"aot/passes/integer_arguments.py", "runtime/stock_runtime.py"}
    heads = {p: p.read_text(encoding="utf-8").partition("from __future__")[0] for p in PACKAGE.rglob("*.py")}
    marked = {
        p.relative_to(PACKAGE).as_posix(): re.findall(r"ExecuTorch (\d+\.\d+)", head) for p, head in heads.items()
    }
    marked = {name: versions for name, versions in marked.items() if versions}
    assert set(marked) == shown
    now = ".".join(map(str, EXECUTORCH_MIN))
    assert {version for versions in marked.values() for version in versions} == {now}, "seen with another version"
