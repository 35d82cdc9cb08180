"""Attention at its edges: rows that a mask hides whole, NaN and infinities in queries, keys and values, seen or not."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.export import export

from executorch_ggml import Program, to_edge_rewrite_and_lower
from executorch_ggml.analysis.reference import delegates

pytestmark = pytest.mark.filterwarnings("ignore")

NAN, INF = float("nan"), float("inf")
attend = torch.nn.functional.scaled_dot_product_attention
Tensors = Sequence[torch.Tensor]


def draw(seed: int, *shapes: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(s, generator=generator) for s in shapes]


def visible(*shape: int) -> torch.Tensor:
    """A mask that hides one query's row whole, the last key from all, and others at random."""
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(5)) > 0.4
    mask[..., 0, :] = False
    mask[..., -1] = False
    mask[..., 1, 0] = True
    return mask


def put(index: int, row: int, number: float) -> Callable[[Tensors], None]:
    def change(qkv: Tensors) -> None:
        qkv[index][..., row, 1] = number

    return change


def minus_infinity(qkv: Tensors) -> None:
    qkv[0].abs_().neg_()
    qkv[1].fill_(INF)


def beyond(qkv: Tensors) -> None:
    for x in qkv[:2]:
        x.abs_().mul_(1e25)


CHANGES: dict[str, Callable[[Tensors], None]] = {
    "nothing": lambda qkv: None,
    "NaN in a hidden value": put(2, -1, NAN),
    "infinity in a hidden value": put(2, -1, INF),
    "NaN in a hidden key": put(1, -1, NAN),
    "infinity in a hidden key": put(1, -1, INF),
    "NaN in a key": put(1, 1, NAN),
    "minus infinity in a key": put(1, 1, -INF),
    "NaN in a value": put(2, 1, NAN),
    "NaN in a query": put(0, 2, NAN),
    "infinity in a query": put(0, 2, INF),
    "NaN in the query that sees nothing": put(0, 0, NAN),
    "all scores minus infinity": minus_infinity,
    "scores beyond the largest number": beyond,
}


class Forms(torch.nn.Module):
    """Several masks as one model: exporting costs far more than the nodes do."""

    def __init__(self, masks: Sequence[torch.Tensor | None]) -> None:
        super().__init__()
        self.masks = list(masks)

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> Any:
        causal = attend(q, k, v, is_causal=True, enable_gqa=True)
        return [causal, *(attend(q, k, v, m, enable_gqa=True) for m in self.masks)]


def check(model: torch.nn.Module, shapes: Sequence[tuple[int, ...]], path: Path, changes: Sequence[str] = ()) -> None:
    edge = to_edge_rewrite_and_lower(export(model, tuple(draw(1, *shapes))))
    assert len(delegates(edge.exported_program())) == 1
    path.write_bytes(edge.to_executorch().buffer)
    for threads, change in itertools.product((1, 2), changes or CHANGES):
        with Program(path, threads=threads) as program:
            qkv = draw(1, *shapes)
            CHANGES[change](qkv)
            for i, (got, want) in enumerate(zip(program(*qkv), model(*qkv), strict=True)):
                where = f"{change}, form {i}, {threads} threads"
                assert torch.equal(got.isnan(), want.isnan()), where
                torch.testing.assert_close(
                    got, want, rtol=1e-4, atol=1e-5, equal_nan=True, msg=lambda m, w=where: f"{w}: {m}"
                )


def test_few_infinite_keys(tmp_path: Path) -> None:
    """A row of scores that are all minus infinity gives 0, also without a mask and for heads of any size."""
    for size in (2, 4, 16):
        shapes = [(1, 2, 3, size), (1, 2, 5, size), (1, 2, 5, size)]
        check(Forms([None]), shapes, tmp_path / "attention.pte", ["nothing", "all scores minus infinity"])


# Few queries, many, more keys than a tile; heads that our kernels take, and one that they leave to two products. With
# fewer than 16 keys, and no mask, torch makes 0 of a query that is NaN.
@pytest.mark.parametrize(("queries", "keys", "size"), [(3, 40, 16), (40, 70, 16), (20, 33, 5)])
def test_as_eager(tmp_path: Path, queries: int, keys: int, size: int) -> None:
    whole, per_batch, per_head = visible(queries, keys), visible(2, 1, queries, keys), visible(2, 4, queries, keys)
    bias = draw(2, (queries, keys))[0]
    masks = [
        None,
        whole,
        per_batch,
        per_head,
        torch.where(whole, bias, -INF),
        torch.where(per_head, 0.0, -INF),
        torch.where(whole, bias, torch.finfo(torch.float32).min),
        torch.where(whole, torch.finfo(torch.float32).min, -INF),
    ]
    heads = (4, 2) if queries == 3 else (4, 4)
    shapes = [(2, heads[0], queries, size), (2, heads[1], keys, size), (2, heads[1], keys, size)]
    check(Forms(masks), shapes, tmp_path / "attention.pte")


def test_a_long_causal_sequence(tmp_path: Path) -> None:
    """torch's kernel visits keys 512 at a time: a NaN in a later block reaches no query of an earlier one."""
    shapes = [(1, 1, 600, 16)] * 3
    hidden = [c for c in CHANGES if "hidden" in c or c == "nothing"]
    check(Forms([]), shapes, tmp_path / "attention.pte", hidden)


def test_forms_that_torch_does_not_fuse(tmp_path: Path) -> None:
    """Of three dimensions, or with values of another size, every key counts for every query, causal or not."""

    class Model(torch.nn.Module):
        def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> Any:
            wide = torch.cat([v, v], -1)
            return [attend(q, k, wide, is_causal=True), attend(q[0], k[0], v[0], is_causal=True)]

    hidden = [c for c in CHANGES if "hidden" in c]
    check(Model(), [(2, 2, 20, 16)] * 3, tmp_path / "attention.pte", hidden)


def test_scores_too_large_before_they_are_scaled(tmp_path: Path) -> None:
    """What torch does not fuse is scaled before the product, where scores of 1e39 would be infinite."""
    bias = torch.where(visible(4, 4), 0.3, -INF)

    class Model(torch.nn.Module):
        def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> Any:
            wide = torch.cat([v, v], -1)
            three = [attend(q[0], k[0], v[0], m, scale=s) for m, s in ((None, None), (bias, 0.1), (None, -0.3))]
            return [*three, attend(q[0, 0], k[0, 0], v[0, 0]), attend(q, k, wide, bias), attend(q, k, wide)]

    q, k, v = draw(1, *[(1, 2, 4, 16)] * 3)
    path = tmp_path / "attention.pte"
    path.write_bytes(to_edge_rewrite_and_lower(export(Model(), (q, k, v))).to_executorch().buffer)
    with Program(path, threads=1) as program:
        for many, factor in ((1e30, 5e7), (1e19, 5e18)):
            for got, want in zip(program(q * many, k * factor, v), Model()(q * many, k * factor, v), strict=True):
                torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5, equal_nan=True)
                assert got.isfinite().any()
