"""Attention that a model writes out, with the masks that models make: recognised, or left alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from graph_checks import assert_same, count
from torch import Tensor

from executorch_ggml.aot.passes import run_pre_decomposition

SDPA = "aten.scaled_dot_product_attention.default"
CAUSAL = "executorch_ggml.causal_attention.default"
ROWS, SIZE = 12, 8
INF, MIN = float("inf"), torch.finfo(torch.float32).min
TABLE = torch.ones(ROWS, ROWS).tril()

Hide = Callable[[Tensor, Tensor], Tensor]
"""(scores [1, 4, T, ROWS], positions [T]) -> the same without later keys."""


def visible(positions: Tensor) -> Tensor:
    return torch.arange(ROWS) <= positions[:, None]


class Attention(torch.nn.Module):
    def __init__(self, hide: Hide, score: Callable[[Tensor, Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.hide = hide
        self.score = score or (lambda q, k: q @ k.transpose(-1, -2) / SIZE**0.5)
        self.dropout = torch.nn.Dropout(0.1)
        self.register_buffer("table", TABLE[None, None].clone())
        self.register_buffer("flags", TABLE.bool())
        self.register_buffer("k", torch.zeros(1, 4, ROWS, SIZE))
        self.register_buffer("v", torch.zeros(1, 4, ROWS, SIZE))

    def forward(self, q: Tensor, k: Tensor, positions: Tensor) -> Tensor:
        self.k.index_copy_(2, positions, k)
        self.v.index_copy_(2, positions, k * 0.5)
        scores = self.hide(self, self.score(q, self.k), positions)
        return self.dropout(scores.softmax(-1)) @ self.v


def run(model: torch.nn.Module, *sizes: int) -> torch.export.ExportedProgram:
    def args(t: int = 4) -> tuple[Tensor, ...]:
        return torch.randn(1, 4, t, SIZE), torch.randn(1, 4, t, SIZE), torch.arange(t) + 2

    t = torch.export.Dim("t", min=1, max=ROWS - 1)
    ep = torch.export.export(model.eval(), args(), dynamic_shapes=({2: t}, {2: t}, {0: t}), strict=False)
    done = run_pre_decomposition(ep)
    assert_same(done, model, *(args(size) for size in sizes or (1, 4, 9)))
    return done


RECOGNISED = {
    "masked_fill": lambda m, s, p: s.masked_fill(~visible(p), -INF),
    "masked_fill, min": lambda m, s, p: s.masked_fill(visible(p).logical_not(), MIN),
    "masked_fill, later": lambda m, s, p: s.masked_fill(torch.arange(ROWS) > p[:, None], -INF),
    "where": lambda m, s, p: torch.where(visible(p), s, -INF),
    "where, turned": lambda m, s, p: torch.where(~visible(p)[None, None], torch.full_like(s, -INF), s),
    "added": lambda m, s, p: s + torch.where(visible(p), 0.0, -INF),
    "added, filled": lambda m, s, p: torch.zeros(1, 1, p.shape[0], ROWS).masked_fill(~visible(p), MIN) + s,
    "added, expanded": lambda m, s, p: s + torch.where(visible(p), 0.0, MIN)[None, None].expand(1, 4, -1, -1),
    "table of zeros and ones": lambda m, s, p: s.masked_fill(m.table[:, :, p] == 0, -INF),
    "table of flags": lambda m, s, p: s.masked_fill(~m.flags[p], -INF),
    "rows of a table": lambda m, s, p: s.masked_fill(m.flags.index_select(0, p).logical_not(), -INF),
    "two masks": lambda m, s, p: s.masked_fill(~visible(p), -INF).masked_fill(
        p[:, None] - torch.arange(ROWS) >= 5, -INF
    ),
    "one of two": lambda m, s, p: s.masked_fill(
        (torch.arange(ROWS) > p[:, None]) | (torch.arange(ROWS) <= p[:, None] - 3), -INF
    ),
}


@pytest.mark.parametrize("form", RECOGNISED)
def test_recognised(form: str) -> None:
    done = run(Attention(RECOGNISED[form]))
    assert count(done)[CAUSAL] == 1
    assert count(done)["aten.softmax.int"] == 0


@pytest.mark.parametrize(
    "score",
    [
        lambda q, k: q @ k.permute(0, 1, 3, 2),
        lambda q, k: (q * 0.3) @ k.mT,
        lambda q, k: torch.matmul(q, k.transpose(2, 3)) * torch.tensor(0.25),
        lambda q, k: torch.einsum("bhtd,bhsd->bhts", q, k) / 3.0,
    ],
)
def test_products(score: Callable[[Tensor, Tensor], Tensor]) -> None:
    done = run(Attention(RECOGNISED["masked_fill"], score))
    assert count(done)[CAUSAL] + count(done)["aten.softmax.int"] == 1


LEFT_ALONE = {
    "not low enough": lambda m, s, p: s.masked_fill(~visible(p), -1e4),
    "a number in between": lambda m, s, p: s + torch.where(visible(p), 1.0, -INF),
    "earlier keys": lambda m, s, p: s.masked_fill(visible(p - 1), -INF),
    "rows of which all is hidden": lambda m, s, p: s.masked_fill(~visible(p - 3), MIN),
    "another table": lambda m, s, p: s.masked_fill(~m.flags.roll(1, 0)[p], MIN),
    "hidden, then scaled": lambda m, s, p: s.masked_fill(~visible(p), -INF) * 0.5 - 1.0,
    "no mask": lambda m, s, p: s,
}


@pytest.mark.parametrize("form", LEFT_ALONE)
def test_left_alone(form: str) -> None:
    done = run(Attention(LEFT_ALONE[form]))
    assert count(done)[CAUSAL] == count(done)[SDPA] == 0


def test_a_prompt_without_a_cache() -> None:
    """nanoGPT's form: the top left corner of a table."""

    class Prompt(Attention):
        def forward(self, q: Tensor, k: Tensor, positions: Tensor) -> Tensor:
            t = q.shape[2]
            scores = (q @ k.transpose(-2, -1)) * SIZE**-0.5
            return scores.masked_fill(self.table[:, :, :t, :t] == 0, -INF).softmax(-1) @ k

    done = run(Prompt(RECOGNISED["where"]))
    (node,) = [n for n in done.graph.nodes if str(n.target) == SDPA]
    assert node.kwargs["is_causal"]


def test_float_masks_of_fused_attention() -> None:
    class Fused(Attention):
        def forward(self, q: Tensor, k: Tensor, positions: Tensor) -> Tensor:
            self.k.index_copy_(2, positions, k)
            mask = torch.where(visible(positions), 0.0, MIN)
            return torch.nn.functional.scaled_dot_product_attention(q, self.k, self.k * 2.0, mask)

    assert count(run(Fused(RECOGNISED["where"])))[CAUSAL] == 1
