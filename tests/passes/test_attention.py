"""Attention over a static cache: the mask is proved, or it stays."""

from __future__ import annotations

import pytest
import torch
from graph_checks import assert_same, assert_unchanged, count, functional

from executorch_ggml.aot.passes import fuse_cached_attention, run_pre_decomposition, strip_gqa_expand

SDPA = "aten.scaled_dot_product_attention.default"
CAUSAL = "executorch_ggml.causal_attention.default"
ROWS = 12
sdpa = torch.nn.functional.scaled_dot_product_attention


class Cached(torch.nn.Module):
    """q, k, v [1, T, H, D] with a cache [1, Hkv, S, D]; the mask is made by a function of (keys, queries, start)."""

    def __init__(self, mask, start: bool = False, scale: float | None = None) -> None:
        super().__init__()
        self.mask, self.start, self.scale = mask, start, scale
        self.register_buffer("keys", torch.zeros(1, 2, ROWS, 8))
        self.register_buffer("values", torch.zeros(1, 2, ROWS, 8))

    def forward(self, q: torch.Tensor, k: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        if self.start:  # as Hugging Face does: only the first position counts
            positions = torch.arange(q.shape[2]) + positions[0]
        self.keys.index_copy_(2, positions, k)
        self.values.index_copy_(2, positions, k * 0.5)
        mask = self.mask(torch.arange(ROWS), positions)
        return sdpa(q, self.keys, self.values, attn_mask=mask, scale=self.scale, enable_gqa=True)


def le(keys, positions):
    return (keys[None, :] <= positions[:, None])[None, None]


def ge(keys, positions):
    return positions[:, None] >= keys[None, :]


def lt(keys, positions):
    return keys[None, None, None, :] < (positions + 1)[None, None, :, None]


def not_later_by_difference(keys, positions):
    return (positions.unsqueeze(1) - keys) >= 0


def window(keys, positions):
    return le(keys, positions) & (keys > positions[:, None] - 3)[None, None]


def window_by_difference(keys, positions):
    distance = positions[:, None] - keys
    return torch.logical_and(distance >= 0, distance < 5)


def args(t: int = 4):
    return torch.randn(1, 4, t, 8), torch.randn(1, 2, t, 8), torch.arange(t)


def dynamic():
    t = torch.export.Dim("t", min=1, max=ROWS - 1)
    return ({2: t}, {2: t}, {0: t})


def decode(*lengths: int):
    """Calls that continue one sequence."""
    at, out = 0, []
    for t in lengths:
        out.append((torch.randn(1, 4, t, 8), torch.randn(1, 2, t, 8), torch.arange(at, at + t)))
        at += t
    return out


@pytest.mark.parametrize("start", [False, True])
@pytest.mark.parametrize(
    "mask,expected",
    [(le, 0), (ge, 0), (lt, 0), (not_later_by_difference, 0), (window, 3), (window_by_difference, 5)],
)
def test_fires(mask, expected: int, start: bool) -> None:
    module = Cached(mask, start)
    ep = functional(module, args(), dynamic())
    assert fuse_cached_attention(ep)
    node = next(n for n in ep.graph.nodes if str(n.target) == CAUSAL)
    assert node.args[5] == expected
    assert node.args[4] == pytest.approx(8**-0.5)
    assert count(ep)[SDPA] == 0
    assert not any(
        "bool" in str(n.meta["val"].dtype) for n in ep.graph.nodes if isinstance(n.meta.get("val"), torch.Tensor)
    )
    assert_same(ep, module, *decode(5, 1, 1, 3, 2), tolerance=2e-6)


def test_scale_is_kept() -> None:
    module = Cached(le, scale=0.7)
    ep = functional(module, args())
    assert fuse_cached_attention(ep)
    assert next(n for n in ep.graph.nodes if str(n.target) == CAUSAL).args[4] == 0.7
    assert_same(ep, module, *decode(4, 4, 4), tolerance=2e-6)


def test_positions_may_come_as_a_row() -> None:
    class Row(Cached):
        def forward(self, q, k, positions):
            mask = (torch.arange(ROWS)[None, :] <= positions[0][:, None])[None, None]
            self.keys.index_copy_(2, positions[0], k)
            return sdpa(q, self.keys, self.keys, attn_mask=mask, enable_gqa=True)

    module = Row(None)
    q, k, positions = args()
    ep = functional(module, (q, k, positions[None]))
    assert fuse_cached_attention(ep)
    assert_same(ep, module, *((a, b, c[None]) for a, b, c in decode(4, 4)), tolerance=2e-6)


# ---------------------------------------------------------------------------------------- near misses


def later(keys, positions):
    return keys[None, :] >= positions[:, None]


def strictly_before(keys, positions):
    return (keys[None, :] < positions[:, None]) | (keys == 0)


def shifted_keys(keys, positions):
    return keys[None, :] * 2 <= positions[:, None]


def either(keys, positions):
    return le(keys, positions) | (keys > 8)


def two_sided_without_causality(keys, positions):
    return (keys[None, :] > positions[:, None] - 3) & (keys[None, :] < positions[:, None] + 3)


def of_floats(keys, positions):
    return keys[None, :].float() <= positions[:, None].float() + 0.5


def block(keys, positions):
    return (keys[None, :] // 4) <= (positions[:, None] // 4)


@pytest.mark.parametrize("mask", [later, strictly_before, shifted_keys, either, of_floats, block])
def test_leaves_near_misses_alone(mask) -> None:
    assert_unchanged(functional(Cached(mask), args()), fuse_cached_attention)


def test_a_mask_one_row_further_gets_positions_of_its_own_or_stays() -> None:
    # keys < positions + 3 is `<=` at positions + 2: right only with those positions, which exist nowhere as a vector.
    module = Cached(two_sided_without_causality)
    ep = functional(module, args())
    fuse_cached_attention(ep)
    assert_same(ep, module, *decode(4, 4), tolerance=2e-6)


def test_padding_keeps_its_mask() -> None:
    class Padded(torch.nn.Module):
        def forward(self, q, k, positions, real):
            mask = le(torch.arange(ROWS), positions) & real[:, None, None, :]
            return sdpa(q, k, k, attn_mask=mask)

    inputs = (
        torch.randn(1, 4, 4, 8),
        torch.randn(1, 4, ROWS, 8),
        torch.arange(4),
        torch.ones(1, ROWS, dtype=torch.bool),
    )
    assert_unchanged(functional(Padded(), inputs), fuse_cached_attention)


def test_additive_mask_stays() -> None:
    class Added(torch.nn.Module):
        def forward(self, q, k, mask):
            return sdpa(q, k, k, attn_mask=mask)

    assert_unchanged(
        functional(Added(), (torch.randn(1, 2, 4, 8), torch.randn(1, 2, 6, 8), torch.randn(4, 6))),
        fuse_cached_attention,
    )


def test_plain_causal_mask_becomes_is_causal() -> None:
    class Square(torch.nn.Module):
        def forward(self, q, k):
            rows = torch.arange(q.shape[2])
            return sdpa(q, k, k, attn_mask=(torch.arange(k.shape[2])[None, :] <= rows[:, None])[None, None])

    module = Square()
    t, s = torch.export.Dim("t", min=2, max=9), torch.export.Dim("s", min=2, max=9)
    for dims, keys in ((({2: t}, {2: t}), 5), (({2: t}, {2: s}), 7)):
        ep = functional(module, (torch.randn(1, 2, 5, 8), torch.randn(1, 2, keys, 8)), dims)
        assert fuse_cached_attention(ep)
        node = next(n for n in ep.graph.nodes if str(n.target) == SDPA)
        assert node.kwargs["is_causal"] is True
        assert node.kwargs.get("attn_mask") is None
        assert_same(ep, module, (torch.randn(1, 2, 9, 8), torch.randn(1, 2, 9 if keys == 5 else 4, 8)), tolerance=2e-6)


def test_whole_pipeline_leaves_no_mask() -> None:
    module = Cached(le, start=True)
    ep = run_pre_decomposition(torch.export.export(module, args(), dynamic_shapes=dynamic()))
    found = count(ep)
    assert found[CAUSAL] == 1
    assert found["aten.le.Tensor"] + found["aten.expand.default"] == 0
    assert_same(ep, module, *decode(5, 1, 1, 3), tolerance=2e-6)


# ---------------------------------------------------------------------------------------- grouped queries


def repeat_by_expand(x, n):
    b, h, s, d = x.shape
    return x[:, :, None].expand(b, h, n, s, d).reshape(b, h * n, s, d)


def repeat_by_interleave(x, n):
    return x.repeat_interleave(n, dim=1)


def repeat_before_transpose(x, n):
    y = x.transpose(1, 2)
    b, s, h, d = y.shape
    return y[:, :, :, None].expand(b, s, h, n, d).reshape(b, s, h * n, d).transpose(1, 2)


def tiled(x, n):
    return x.repeat(1, n, 1, 1)


def repeated_rows(x, n):
    return x.repeat_interleave(n, dim=2)


class Grouped(torch.nn.Module):
    def __init__(self, key_repeat, value_repeat) -> None:
        super().__init__()
        self.key_repeat, self.value_repeat = key_repeat, value_repeat

    def forward(self, q, k, v):
        return sdpa(q, self.key_repeat(k), self.value_repeat(v), is_causal=True)


@pytest.mark.parametrize("repeat", [repeat_by_expand, repeat_by_interleave, repeat_before_transpose])
@pytest.mark.parametrize("groups", [2, 3])
def test_repeated_heads_are_stripped(repeat, groups: int) -> None:
    module = Grouped(lambda k: repeat(k, groups), lambda v: repeat(v, groups))
    k = torch.randn(2, 2, 5, 8)
    s = torch.export.Dim("s", min=2, max=20)
    ep = functional(module, (torch.randn(2, 2 * groups, 5, 8), k, k * 2), ({2: s}, {2: s}, {2: s}))
    assert strip_gqa_expand(ep)
    node = next(n for n in ep.graph.nodes if str(n.target) == SDPA)
    assert node.kwargs["enable_gqa"] is True
    assert count(ep)["aten.expand.default"] == 0
    longer = torch.randn(2, 2, 9, 8)
    assert_same(ep, module, (torch.randn(2, 2 * groups, 9, 8), longer, longer * 0.5), tolerance=2e-6)


def test_heads_repeated_otherwise_stay() -> None:
    for wrong in (Grouped(lambda k: tiled(k, 2), lambda v: tiled(v, 2)),):
        ep = functional(wrong, (torch.randn(2, 4, 5, 8), *[torch.randn(2, 2, 5, 8)] * 2))
        assert_unchanged(ep, strip_gqa_expand)
    rows = Grouped(lambda k: repeated_rows(k, 2), lambda v: repeated_rows(v, 2))
    assert_unchanged(functional(rows, (torch.randn(2, 2, 5, 8), *[torch.randn(2, 2, 5, 8)] * 2)), strip_gqa_expand)
    mixed = Grouped(lambda k: repeat_by_expand(k, 2), lambda v: tiled(v, 2))
    assert_unchanged(functional(mixed, (torch.randn(2, 4, 5, 8), *[torch.randn(2, 2, 5, 8)] * 2)), strip_gqa_expand)
