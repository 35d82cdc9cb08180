"""Arguments and results of a `.pte` that is not row-major: by `Program`, and by ExecuTorch's runtime in Python."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.filterwarnings("ignore")


def stock_pte(path: Path) -> Path:
    """erf(x), without our partitioner, from an example in channels-last: input and result are in that order."""
    import torch
    from executorch.exir import to_edge_transform_and_lower

    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor, n: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.erf(x), n + 1

    example = torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last)
    edge = to_edge_transform_and_lower(torch.export.export(Net(), (example, torch.arange(3))))
    path.write_bytes(edge.to_executorch().buffer)
    return path


def test_orders_of_inputs_are_read(tmp_path: Path) -> None:
    from executorch_ggml.runtime.stock_runtime import input_orders

    path = stock_pte(tmp_path / "stock.pte")
    want = {"forward": [(0, 2, 3, 1), (0,)]}
    assert input_orders(str(path)) == input_orders(path.read_bytes()) == want
    for broken in (b"", b"ET12", path.read_bytes()[:60], b"\xff" * 64, str(tmp_path / "nowhere.pte"), None):
        assert input_orders(broken) == {}


def test_program_takes_and_gives_any_order(tmp_path: Path) -> None:
    import torch

    from executorch_ggml import Program

    program = Program(stock_pte(tmp_path / "stock.pte"), threads=1)
    x = torch.rand(2, 3, 4, 5)
    for argument in (x, x.to(memory_format=torch.channels_last), x.transpose(0, 1).contiguous().transpose(0, 1)):
        got, following = program(argument, torch.arange(3))
        torch.testing.assert_close(got, torch.erf(x))
        assert following.tolist() == [1, 2, 3]
    (got, _) = program(x.numpy(), np.arange(3))
    np.testing.assert_allclose(got, torch.erf(x).numpy(), rtol=1e-6)


@pytest.mark.parametrize("first", ["executorch.runtime", "executorch_ggml.runtime.register"])
def test_stock_runtime_gets_the_order_it_expects(first: str, tmp_path: Path, run_python: Callable[[str], str]) -> None:
    """In a fresh interpreter: what is imported first must not matter."""
    import torch
    from executorch.exir import to_edge_transform_and_lower

    from executorch_ggml import GgmlPartitioner

    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.erf(x)

    ours = tmp_path / "ours.pte"
    exported = torch.export.export(Net(), (torch.rand(2, 3, 4, 5),))
    ours.write_bytes(to_edge_transform_and_lower(exported, partitioner=[GgmlPartitioner()]).to_executorch().buffer)
    stock = stock_pte(tmp_path / "stock.pte")
    out = run_python(f"""
import importlib
importlib.import_module({first!r})
import torch, executorch_ggml
executorch_ggml.register_backend(); executorch_ggml.register_backend()
from executorch.runtime import Runtime
x = torch.rand(2, 3, 4, 5)
for path, rest in (({str(ours)!r}, []), ({str(stock)!r}, [torch.arange(3)])):
    for data in (path, open(path, "rb").read(), open(path, "rb")):
        program = Runtime.get().load_program(data)  # kept: ExecuTorch reads the bytes that it holds
        method = program.load_method("forward")
        for a in (x, x.to(memory_format=torch.channels_last), -(-x).conj(), torch._neg_view(-x)):
            assert torch.allclose(method.execute([a, *rest])[0], torch.erf(x), atol=1e-6), (path, a.stride())
print("right")
""")
    assert "right" in out
