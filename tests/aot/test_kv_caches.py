"""KV caches that a model declares in its own way: their kind, and their results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention as attend

from executorch_ggml import Program, to_edge_rewrite_and_lower
from executorch_ggml.analysis.nmse import nmse

pytestmark = pytest.mark.filterwarnings("ignore")

SLOTS, HEADS, KV_HEADS, SIZE = 24, 4, 2, 32
WIDTH = HEADS * SIZE
FP16 = 1e-6  # NMSE: keys and values are rounded to fp16

Cache = dict[str, Tensor]
Write = Callable[[Cache, str, Tensor, Tensor], Tensor]
"""(caches, name, positions [T], rows [1, KV_HEADS, T, SIZE]) -> the whole cache [1, KV_HEADS, SLOTS, SIZE]."""


def copied(caches: Cache, name: str, positions: Tensor, rows: Tensor) -> Tensor:
    return caches[name].index_copy_(2, positions, rows)


def put(caches: Cache, name: str, positions: Tensor, rows: Tensor) -> Tensor:
    caches[name][:, :, positions] = rows
    return caches[name]


def rows_first(caches: Cache, name: str, positions: Tensor, rows: Tensor) -> Tensor:
    caches[name].index_copy_(1, positions, rows.transpose(1, 2))
    return caches[name].transpose(1, 2)


def flat(caches: Cache, name: str, positions: Tensor, rows: Tensor) -> Tensor:
    caches[name].index_copy_(0, positions, rows.transpose(1, 2).reshape(-1, KV_HEADS * SIZE))
    return caches[name].view(1, SLOTS, KV_HEADS, SIZE).transpose(1, 2)


def no_batch(caches: Cache, name: str, positions: Tensor, rows: Tensor) -> Tensor:
    caches[name].index_copy_(1, positions, rows[0])
    return caches[name][None]


def half(caches: Cache, name: str, positions: Tensor, rows: Tensor) -> Tensor:
    return caches[name].index_copy_(2, positions, rows.half()).float()


HEADS_FIRST = torch.zeros(1, KV_HEADS, SLOTS, SIZE)
WAYS: dict[str, tuple[Write, Tensor]] = {
    "index_copy": (copied, HEADS_FIRST),
    "index_put": (put, HEADS_FIRST),
    "rows before heads": (rows_first, torch.zeros(1, SLOTS, KV_HEADS, SIZE)),
    "matrix": (flat, torch.zeros(SLOTS, KV_HEADS * SIZE)),
    "no batch": (no_batch, HEADS_FIRST[0]),
    "fp16": (half, HEADS_FIRST.half()),
}


class Attention(nn.Module):
    def __init__(self, write: Write, cache: Tensor, repeat: bool = False, window: int = 0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.write, self.repeat, self.window = write, repeat, window
        self.project = nn.Linear(WIDTH, WIDTH + 2 * KV_HEADS * SIZE)
        self.register_buffer("k", cache.clone())
        self.register_buffer("v", cache.clone())

    def mask(self, positions: Tensor) -> Tensor:
        slots = torch.arange(SLOTS)
        seen = slots <= positions[:, None]
        return seen & (positions[:, None] - slots < self.window) if self.window else seen

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        q, k, v = self.project(x).split((WIDTH, KV_HEADS * SIZE, KV_HEADS * SIZE), -1)
        q, k, v = (t.view(1, x.shape[1], -1, SIZE).transpose(1, 2) for t in (q, k, v))
        caches = {"k": self.k, "v": self.v}
        k, v = self.write(caches, "k", positions, k), self.write(caches, "v", positions, v)
        if self.repeat:
            k, v = (
                t[:, :, None].expand(-1, -1, HEADS // KV_HEADS, -1, -1).reshape(1, HEADS, SLOTS, SIZE) for t in (k, v)
            )
        return attend(q, k, v, self.mask(positions), enable_gqa=not self.repeat).transpose(1, 2).flatten(2)


def exported(model: nn.Module) -> torch.export.ExportedProgram:
    tokens = torch.export.Dim("tokens", min=1, max=SLOTS)
    return torch.export.export(
        model.eval(),
        (torch.randn(1, 3, WIDTH), torch.arange(3)),
        dynamic_shapes=({1: tokens}, {0: tokens}),
        strict=False,
    )


def saved(tmp_path: Path, methods: dict[str, torch.export.ExportedProgram]) -> Path:
    path = tmp_path / "m.pte"
    to_edge_rewrite_and_lower(methods).to_executorch().save(str(path))
    return path


def kinds(program: Program) -> dict[str, tuple[str, str, str]]:
    return {s["name"]: (s["kind"], s["type"], s["owner"]) for s in program.info()["states"]}


def differences(program: Program, model: nn.Module) -> list[float]:
    """NMSE of calls that go on, and of one that goes back."""
    found = []
    for first, last in ((0, 5), (5, 6), (6, 9), (4, 8)):
        x, positions = torch.randn(1, last - first, WIDTH), torch.arange(first, last)
        with torch.no_grad():
            want = model(x, positions).numpy()
        found.append(nmse(program(x, positions)[0], want))
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("repeat", [False, True], ids=["grouped", "repeated"])
def test_own_caches_are_kv_caches(way: str, repeat: bool, tmp_path: Path) -> None:
    model = Attention(*WAYS[way], repeat=repeat)
    with Program(saved(tmp_path, {"forward": exported(model)}), threads=1) as program:
        assert max(differences(program, model)) < FP16
        assert set(kinds(program).values()) == {("kv_cache", "f16", "delegate")}


@pytest.mark.parametrize("cache_type", ["f32", "q8_0"])
def test_the_session_chooses_the_type(cache_type: str, tmp_path: Path) -> None:
    model = Attention(*WAYS["index_put"])
    path = saved(tmp_path, {"forward": exported(model)})
    with Program(path, threads=1, cache_type=cache_type) as program:
        assert max(differences(program, model)) < (1e-12 if cache_type == "f32" else 1e-3)
        assert {kind[1] for kind in kinds(program).values()} == {cache_type}


def test_a_window(tmp_path: Path) -> None:
    model = Attention(*WAYS["index_copy"], window=3)
    with Program(saved(tmp_path, {"forward": exported(model)}), threads=1) as program:
        assert max(differences(program, model)) < FP16
        assert kinds(program)["k"][0] == "kv_cache"


def test_the_initial_value_has_the_order_of_memory(tmp_path: Path) -> None:
    start = torch.randn(1, KV_HEADS, SLOTS, SIZE)
    model = Attention(copied, start)
    path = saved(tmp_path, {"forward": exported(model)})
    x, positions = torch.randn(1, 2, WIDTH), torch.tensor([6, 7])  # rows 0 to 5 are those of the start
    with torch.no_grad():
        want = model(x, positions).numpy()
    with Program(path, threads=1) as program:
        assert nmse(program(x, positions)[0], want) < FP16
        program(torch.randn(1, 3, WIDTH), torch.arange(3))
        program.reset()
        assert nmse(program(x, positions)[0], want) < FP16


class Reader(nn.Module):
    def __init__(self, cache: Tensor) -> None:
        super().__init__()
        self.register_buffer("k", cache)

    def forward(self, factor: Tensor) -> Tensor:
        return self.k * factor


def test_another_method_that_reads_it_otherwise(tmp_path: Path) -> None:
    model = Attention(*WAYS["index_copy"])
    reader = torch.export.export(Reader(model.k), (torch.ones(1),), strict=False)
    path = saved(tmp_path, {"forward": exported(model), "read": reader})
    with Program(path, threads=1) as program:
        x = torch.randn(1, 3, WIDTH)
        with torch.no_grad():
            want = model(x, torch.arange(3)).numpy()
        assert nmse(program(x, torch.arange(3))[0], want) < FP16
        np.testing.assert_allclose(program.execute("read", [torch.ones(1)])[0], model.k.numpy(), atol=1e-6)
        found = kinds(program)
        assert (found["k"][0], found["v"][0]) == ("state", "kv_cache")


class Elsewhere(Attention):
    """Rows lie in slots of their own: to go back would find other rows there."""

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        slots = (positions + 7) % SLOTS
        q, k, v = self.project(x).split((WIDTH, KV_HEADS * SIZE, KV_HEADS * SIZE), -1)
        q, k, v = (t.view(1, x.shape[1], -1, SIZE).transpose(1, 2) for t in (q, k, v))
        caches = {"k": self.k, "v": self.v}
        k, v = copied(caches, "k", slots, k), copied(caches, "v", slots, v)
        return attend(q, k, v, self.mask(positions), enable_gqa=True).transpose(1, 2).flatten(2)


class Returned(Attention):
    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        return super().forward(x, positions).sum() + self.k.transpose(1, 2)


@pytest.mark.parametrize("kind", [Elsewhere, Returned])
def test_other_states_are_no_kv_caches(kind: type[Attention], tmp_path: Path) -> None:
    model = kind(*WAYS["index_copy"])
    with Program(saved(tmp_path, {"forward": exported(model)}), threads=1) as program:
        assert max(differences(program, model)) < FP16
        assert kinds(program)["k"][0] == "state"
