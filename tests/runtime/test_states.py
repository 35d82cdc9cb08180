"""States: initial values, calls, reset(), several methods, by Program and by ExecuTorch's own runtime."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from executorch.exir import to_edge_transform_and_lower
from executorch.runtime import Runtime
from torch import nn
from torch.export import export

from executorch_ggml import GgmlPartitioner, Program, to_edge_rewrite_and_lower
from executorch_ggml.errors import FormatError, InvalidArgumentError, ValueRangeError
from executorch_ggml.runtime.register import register_backend

pytestmark = pytest.mark.filterwarnings("ignore")


class Method(nn.Module):
    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__()
        self.model = model
        self.name = name

    def forward(self, *args: torch.Tensor) -> Any:
        return getattr(self.model, self.name)(*args)


class Kept(nn.Module):
    """One method for each way of writing and reading a state."""

    def __init__(self, start: torch.Tensor, ways: Sequence[Callable[[Any, torch.Tensor], Any]]) -> None:
        super().__init__()
        for i in range(len(ways)):
            self.register_buffer(f"s{i}", start.clone())
            self.register_buffer(f"o{i}", torch.ones_like(start))
        self.ways = ways

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        results: list[torch.Tensor] = []
        for i, way in enumerate(self.ways):
            results += way(getattr(self, f"s{i}"), getattr(self, f"o{i}"), x)  # type: ignore[call-arg]
        return results


def returned(s: Any, o: Any, x: Any) -> Any:
    s.copy_(x)
    return [s]


def old(s: Any, o: Any, x: Any) -> Any:
    before = s.clone()
    s.copy_(x)
    return [before, before.view(-1), s[1:]]


def exchanged(s: Any, o: Any, x: Any) -> Any:
    t = s.clone()
    s.copy_(o)
    o.copy_(t)
    return [s.view(-1), o]


def one_value(s: Any, o: Any, x: Any) -> Any:
    s.copy_(x)
    o.copy_(s)
    return [o]


def sliced(s: Any, o: Any, x: Any) -> Any:
    s[:, 1:] = x[:, 1:]
    s.select(0, 1).copy_(x[0])
    return [s + o, s.t()]


def shifted(s: Any, o: Any, x: Any) -> Any:
    s.copy_(torch.cat([s[1:], x[:1]]))
    return [s]


WAYS = (returned, old, exchanged, one_value, sliced, shifted)
SOME = (old, exchanged, shifted)


def lowered(model: nn.Module, methods: Sequence[str], *args: torch.Tensor) -> bytes:
    programs = {name: export(Method(model, name), args) for name in methods}
    return bytes(to_edge_rewrite_and_lower(programs).to_executorch().buffer)


def run(program: Any, method: str, args: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return list(program.execute(method, list(args)))


def agree(got: Sequence[Any], want: Any, what: str) -> None:
    wanted = list(want) if isinstance(want, (list, tuple)) else [want]
    assert len(got) == len(wanted)
    for i, (g, w) in enumerate(zip(got, wanted, strict=True)):
        assert g.dtype == w.dtype, f"{what}, result {i}: {g.dtype} instead of {w.dtype}"
        assert torch.allclose(g, w, 1e-5, 1e-6), f"{what}, result {i}: {g} instead of {w}"


def follow(path: Path, data: bytes, model: nn.Module, calls: Sequence[tuple[str, torch.Tensor]]) -> None:
    """The calls twice by Program, with a reset in between, and by ExecuTorch's own runtime."""
    path.write_bytes(data)
    with Program(path, threads=1) as program, torch.no_grad():
        for turn in range(2):
            eager = copy.deepcopy(model)
            for i, (name, x) in enumerate(calls):
                got = run(program, name, [x])
                agree(got, copy.deepcopy(getattr(eager, name)(x.clone())), f"turn {turn}, call {i}")
            program.reset()
    register_backend()
    eager, loaded = copy.deepcopy(model), Runtime.get().load_program(data)
    methods = {name: loaded.load_method(name) for name in sorted(loaded.method_names)}
    with torch.no_grad():
        for i, (name, x) in enumerate(calls):
            agree(methods[name].execute([x]), copy.deepcopy(getattr(eager, name)(x.clone())), f"Runtime, call {i}")


TYPES = ["float32", "float16", "bfloat16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool"]


@pytest.mark.parametrize("dtype", TYPES)
def test_every_type(dtype: str, tmp_path: Path) -> None:
    kind = getattr(torch, dtype)
    values = [torch.randint(0, 2 if kind is torch.bool else 99, (2, 3)).to(kind) for _ in range(4)]
    model = Kept(values[0], WAYS if dtype in ("float32", "int64") else SOME)
    data = lowered(model, ["forward"], values[1])
    follow(tmp_path / "m.pte", data, model, [("forward", x) for x in values[1:]])


class Shared(nn.Module):
    """A state in a delegate, one of integers, and one that a delegate could own in some methods only."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.full((3,), 0.5))
        self.register_buffer("count", torch.tensor(7))
        self.register_buffer("torn", torch.ones(3), persistent=False)
        self.weight = nn.Parameter(torch.ones(3), requires_grad=False)

    def add(self, x: torch.Tensor) -> Any:
        self.total.add_(x)
        self.count += 1
        self.torn.mul_(0.5).add_(x)
        return self.total * 2, self.count

    def look(self, x: torch.Tensor) -> Any:
        return self.total, self.count + 0, self.total.view(3, 1) + x[0]

    def put(self, x: torch.Tensor) -> Any:
        self.total.copy_(x)
        self.count.mul_(2)
        self.torn.copy_((self.torn.double() + 1).float())
        return self.torn * 1, self.count.float() * x

    def train(self, x: torch.Tensor) -> Any:
        self.weight.add_(x)
        return self.weight.view(-1)


def test_methods_share_states(tmp_path: Path) -> None:
    model, x = Shared(), torch.randn(3)
    names = ("look", "add", "put", "train")
    data = lowered(model, names, x)
    order = ("look", "add", "look", "put", "add", "train", "put", "look", "train", "add", "put")
    follow(tmp_path / "m.pte", data, model, [(name, torch.randn(3)) for name in order])
    with Program(tmp_path / "m.pte", threads=1, methods=names) as program:
        states = {s["name"]: (s["owner"], s["type"], s["bytes"]) for s in program.info()["states"]}
    assert states == {
        "model.total": ("delegate", "f32", 12),
        "model.count": ("executorch", "int64", 8),
        "model.torn": ("executorch", "float32", 12),
        "model.weight": ("delegate", "f32", 12),
    }


class Stored(nn.Module):
    """A method of which the delegate only writes states: ExecuTorch removed the call."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("sum", torch.zeros(3))
        self.register_buffer("count", torch.tensor(0))

    def store(self, x: torch.Tensor) -> Any:
        self.sum.mul_(0.5).add_(x.sin())
        self.count += 1
        return self.count + 0

    def put(self, x: torch.Tensor) -> Any:
        self.sum.copy_(x.cos())
        return self.count * 3, x > 9

    def look(self, x: torch.Tensor) -> Any:
        return self.sum * x, self.count + 0


def test_a_delegate_that_only_writes_states(tmp_path: Path) -> None:
    model = Stored()
    data = lowered(model, ("store", "put", "look"), torch.randn(3))
    order = ("look", "store", "look", "put", "look", "store", "store", "look")
    follow(tmp_path / "m.pte", data, model, [(name, torch.randn(3)) for name in order])


class Counted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.tensor([1]))
        self.table = nn.Embedding(4, 2)

    def forward(self, ids: torch.Tensor) -> Any:
        self.count.add_(1)
        return self.table(ids), self.count


def test_a_failed_call_keeps_the_state(tmp_path: Path) -> None:
    path = tmp_path / "m.pte"
    path.write_bytes(lowered(Counted(), ["forward"], torch.tensor([1])))
    with Program(path, threads=1) as program:
        assert [int(program.execute("forward", [np.array([1])])[1][0]) for _ in range(2)] == [2, 3]
        with pytest.raises(ValueRangeError):
            program.execute("forward", [np.array([4])])
        assert int(program.execute("forward", [np.array([1])])[1][0]) in (4, 5)
        program.reset()
        assert int(program.execute("forward", [np.array([1])])[1][0]) == 2


def test_a_list_of_other_states(tmp_path: Path) -> None:
    data = lowered(Counted(), ["forward"], torch.tensor([1]))
    name = b'["model.count"]'
    assert data.count(name) == 1
    path = tmp_path / "m.pte"
    path.write_bytes(data.replace(name, b'["mode.co","a"]'))
    with pytest.raises(FormatError, match="the list of states does not fit the 1 in the method"):
        Program(path)


def test_partitioner_alone(tmp_path: Path) -> None:
    """Without to_edge_rewrite_and_lower: initial values and reset() of a method by itself."""
    model, path = Counted(), tmp_path / "m.pte"
    edge = to_edge_transform_and_lower(export(model, (torch.tensor([1]),)), partitioner=[GgmlPartitioner()])
    path.write_bytes(edge.to_executorch().buffer)
    with Program(path, threads=1) as program:
        for _ in range(2):
            assert [int(program.execute("forward", [np.array([1])])[1][0]) for _ in range(2)] == [2, 3]
            program.reset()


class Twice(nn.Module):
    """A buffer and a view of it under another name."""

    def __init__(self, part: slice) -> None:
        super().__init__()
        whole = torch.zeros(4)
        self.register_buffer("whole", whole)
        self.register_buffer("part", whole[part])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.part.add_(x)
        return self.whole * 1


def test_one_memory_under_two_names(tmp_path: Path) -> None:
    model = Twice(slice(None))
    follow(tmp_path / "m.pte", lowered(model, ["forward"], torch.ones(4)), model, [("forward", torch.ones(4))] * 2)
    with pytest.raises(InvalidArgumentError, match=r"'model\.part' is changed and shares memory with 'model\.whole'"):
        lowered(Twice(slice(1, 3)), ["forward"], torch.ones(2))


@pytest.mark.parametrize("layout", ["transposed", "channels_last"])
def test_layouts(layout: str, tmp_path: Path) -> None:
    start = torch.arange(24.0).reshape(1, 2, 3, 4)
    start = start.transpose(2, 3) if layout == "transposed" else start.to(memory_format=torch.channels_last)
    ways = [returned, shifted, lambda s, o, x: [s.add_(1).sum(), s.add_(x), o.mul_(2) + s]]
    model, x = Kept(torch.zeros(1), ()), torch.randn(start.shape)
    model.ways = ways
    for i in range(len(ways)):
        model.register_buffer(f"s{i}", start.clone(memory_format=torch.preserve_format))
        model.register_buffer(f"o{i}", start * 2)
    follow(tmp_path / "m.pte", lowered(model, ["forward"], x), model, [("forward", x * k) for k in (1, 2, 3)])
