"""Memory layouts: the numbers of eager, whatever order examples, weights, arguments and results have in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from executorch_ggml import GgmlPartitioner, Program, to_edge_rewrite_and_lower
from executorch_ggml.errors import UnsupportedError
from executorch_ggml.runtime.register import register_backend

pytestmark = pytest.mark.filterwarnings("ignore")

LAST, LAST_3D = torch.channels_last, torch.channels_last_3d


class Calls(nn.Module):
    """A module of one function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


class Between(nn.Module):
    """An operator that ExecuTorch runs between two delegates, and results before and after it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 5, 3), nn.Conv2d(5, 4, 3)

    def forward(self, x: torch.Tensor) -> Any:
        y = torch.erf(self.a(x))
        return y, self.b(y)


def lowered(model: nn.Module, example: torch.Tensor, plain: bool = False, dynamic: Any = None, **options: Any) -> bytes:
    program = export(model.eval(), (example,), dynamic_shapes=dynamic)
    if plain:
        from executorch.exir import to_edge_transform_and_lower

        edge = to_edge_transform_and_lower(program, partitioner=[GgmlPartitioner(**options)])
    else:
        edge = to_edge_rewrite_and_lower(program, partitioner=[GgmlPartitioner(**options)])
    return bytes(edge.to_executorch().buffer)


def assert_right(buffer: bytes, model: nn.Module, folder: Path, *arguments: torch.Tensor) -> None:
    """By `Program` and by ExecuTorch's own runtime."""
    from executorch.runtime import Runtime

    register_backend()
    path = folder / "layout.pte"
    path.write_bytes(buffer)
    program, method = Program(path, threads=1), Runtime.get().load_program(buffer).load_method("forward")
    for x in arguments:
        with torch.no_grad():
            want = model(x)
        wanted = want if isinstance(want, tuple) else (want,)
        tolerance = {"rtol": 3e-3, "atol": 3e-3} if x.dtype == torch.float16 else {"rtol": 1e-5, "atol": 1e-5}
        for got in (program(x), method.execute([x])):
            assert len(got) == len(wanted)
            for one, other in zip(got, wanted, strict=True):
                torch.testing.assert_close(one.contiguous(), other.contiguous(), **tolerance)


def photo(height: int, width: int, batch: int = 1) -> torch.Tensor:
    """An image as files bring it: height, width, channels, and permuted for the model."""
    return torch.rand(batch, height, width, 3).permute(0, 3, 1, 2)


EXAMPLES = {
    "row-major": lambda: photo(9, 7).contiguous(),
    "permuted": lambda: photo(9, 7),
    "permuted batch": lambda: photo(9, 7, 2),
    "channels-last": lambda: torch.rand(2, 3, 9, 7).to(memory_format=LAST),
    "transposed": lambda: torch.rand(2, 3, 7, 9).transpose(2, 3),
}


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("plain", [False, True])
def test_any_example_takes_any_argument(name: str, plain: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, example = Between(), EXAMPLES[name]()
    buffer = lowered(model, example, plain)
    assert_right(
        buffer, model, tmp_path, example, example.contiguous(), example.contiguous().to(memory_format=LAST), -example
    )


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.clone(memory_format=LAST),
        lambda x: (x * 2).to(memory_format=LAST),
        lambda x: torch.erf(x.contiguous(memory_format=LAST)),
        lambda x: torch.zeros_like(x, memory_format=LAST) + x,
        lambda x: torch.empty_like(x, memory_format=LAST).fill_(2.0) * x,
        lambda x: (x.to(memory_format=LAST) * 2).permute(0, 2, 3, 1).reshape(2, -1),
        lambda x: x.to(memory_format=LAST).permute(0, 2, 3, 1).view(2, -1, 3),
        lambda x: torch.erf(x.permute(0, 2, 3, 1).clone()),
        lambda x: nn.functional.interpolate(x.permute(0, 2, 1, 3), scale_factor=2, mode="bicubic"),
        lambda x: torch.erf(x.to(torch.float16, memory_format=LAST)).float(),
    ],
)
def test_orders_asked_for_inside(function: Callable[[torch.Tensor], Any], tmp_path: Path) -> None:
    model, x = Calls(function), torch.rand(2, 3, 6, 5)
    assert_right(lowered(model, x), model, tmp_path, x, x.to(memory_format=LAST))


@pytest.mark.parametrize(
    ("model", "example"),
    [
        (
            nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU()).to(memory_format=LAST),
            torch.rand(2, 3, 7, 5),
        ),
        (nn.ConvTranspose2d(3, 4, 3).to(memory_format=LAST), torch.rand(2, 3, 5, 4)),
        (nn.Conv2d(3, 5, 3).half().to(memory_format=LAST), torch.rand(2, 3, 7, 5).half()),
        (nn.Conv2d(1, 5, 1).to(memory_format=LAST), torch.rand(3, 1, 7, 5).to(memory_format=LAST)),
        (nn.Conv2d(4, 5, 1).to(memory_format=LAST), torch.rand(2, 4, 1, 1).to(memory_format=LAST)),
        (nn.Conv3d(2, 3, 2).to(memory_format=LAST_3D), torch.rand(1, 2, 4, 5, 6).to(memory_format=LAST_3D)),
    ],
)
def test_weights_in_channels_last(model: nn.Module, example: torch.Tensor, tmp_path: Path) -> None:
    assert_right(lowered(model, example), model, tmp_path, example, example.contiguous())


def test_sizes_stay_dynamic(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Between().to(memory_format=LAST)
    sizes = ({0: Dim("n", min=1, max=4), 2: Dim("h", min=7, max=20), 3: Dim("w", min=7, max=20)},)
    buffer = lowered(model, photo(9, 7, 2), dynamic=sizes)
    assert_right(buffer, model, tmp_path, photo(9, 7, 2), photo(12, 8, 3).contiguous(), photo(7, 20, 4))


def test_constants_of_any_strides_are_read_and_returned(tmp_path: Path) -> None:
    class Constants(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.p = nn.Parameter(torch.rand(2, 3, 4, 5).to(memory_format=LAST))
            self.register_buffer("t", torch.rand(5, 4).t())
            self.register_buffer("e", torch.rand(1, 5).expand(4, 5), persistent=False)
            self.register_buffer("s", torch.rand(8, 5)[::2])

        def forward(self, x: torch.Tensor) -> Any:
            return (x + self.p) * self.e - self.s, self.p, self.t, torch.erf(self.e), self.s

    model, x = Constants(), torch.rand(2, 3, 4, 5)
    for options in ({}, {"rewrites": False}):
        assert_right(lowered(model, x, **options), model, tmp_path, x)


def test_the_given_program_is_not_changed() -> None:
    model = nn.Conv2d(3, 4, 3).to(memory_format=LAST).eval()
    program = export(model, (photo(7, 7, 2),))
    GgmlPartitioner().transform_for_pre_decomposition(program)
    assert program.state_dict["weight"].is_contiguous(memory_format=LAST)
    assert not program.state_dict["weight"].is_contiguous()
    assert model.weight.data_ptr() == program.state_dict["weight"].data_ptr()


def test_tied_weights_stay_tied() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.e, self.l = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
            self.e.weight = self.l.weight = nn.Parameter(torch.rand(4, 7).t())

        def forward(self, i: torch.Tensor) -> torch.Tensor:
            return self.l(self.e(i))

    program = GgmlPartitioner().transform_for_pre_decomposition(export(Tied().eval(), (torch.tensor([[1, 2]]),)))
    first, second = (program.state_dict[name] for name in ("e.weight", "l.weight"))
    assert first.is_contiguous()
    assert first.data_ptr() == second.data_ptr()


def test_memory_is_looked_at_only_where_it_is_what_it_was(tmp_path: Path) -> None:
    def corner(x: torch.Tensor) -> torch.Tensor:
        return x.as_strided((2, 3), (5, 1)) * 2

    x = torch.rand(2, 3, 6, 5)
    assert_right(lowered(Calls(corner), x), Calls(corner), tmp_path, x)
    for model, example in (
        (Calls(corner), x.to(memory_format=LAST)),
        (Calls(lambda x: corner(x[1])), x),
        (Calls(lambda x: corner(x.permute(0, 2, 3, 1))), x),
    ):
        with pytest.raises(UnsupportedError, match=r"as_strided.*contiguous"):
            lowered(model, example)


def test_another_backends_order_is_refused() -> None:
    """Where a part of the program is lowered already, orders cannot be changed any more."""
    from executorch.exir import EdgeCompileConfig, to_edge

    from executorch_ggml.aot.passes import use_row_major_edge

    class Parts(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.erf(x.to(memory_format=LAST))

    edge = to_edge(export(Parts(), (torch.rand(2, 3, 4, 5),)), compile_config=EdgeCompileConfig())
    program = edge.exported_program()
    assert use_row_major_edge(program) is True
    assert use_row_major_edge(program) is False
