"""The operators of the namespace `executorch_ggml`: their eager meaning, shapes and refusals."""

from __future__ import annotations

import math

import pytest
import torch

from executorch_ggml.aot import custom_ops as ops


def rotated(x: torch.Tensor, positions: torch.Tensor, angle, mode: int, n_dims: int) -> torch.Tensor:
    """Pair by pair, in plain Python numbers: what the definition says."""
    out = x.clone()
    for t, position in enumerate(positions.tolist()):
        for i in range(n_dims // 2):
            a, b = (i, i + n_dims // 2) if mode == ops.ROPE_NEOX else (2 * i, 2 * i + 1)
            theta, size = angle(position, i)
            c, s = math.cos(theta) * size, math.sin(theta) * size
            out[..., t, :, a] = x[..., t, :, a] * c - x[..., t, :, b] * s
            out[..., t, :, b] = x[..., t, :, a] * s + x[..., t, :, b] * c
    return out


@pytest.mark.parametrize("mode", [ops.ROPE_NORM, ops.ROPE_NEOX])
@pytest.mark.parametrize("n_dims", [6, 8])
def test_rope(mode: int, n_dims: int) -> None:
    x, positions = torch.randn(2, 5, 3, 8), torch.tensor([0, 1, 7, 3, 1000])
    factors = torch.rand(n_dims // 2) + 1.0
    got = ops.rope(x, positions, factors, n_dims, mode, 1e4, 0.5, 0.0, 1.5, 32.0, 1.0, 0)

    def angle(position: int, i: int) -> tuple[float, float]:
        return position * 1e4 ** (-2.0 * i / n_dims) / float(factors[i]) * 0.5, 1.5

    torch.testing.assert_close(got, rotated(x, positions, angle, mode, n_dims), rtol=1e-5, atol=1e-5)
    assert torch.equal(got[..., n_dims:], x[..., n_dims:])


def test_rope_with_yarn() -> None:
    n_dims, base, scale, context = 32, 1e4, 0.25, 64
    x, positions = torch.randn(1, 4, 2, n_dims), torch.tensor([0, 5, 63, 200])
    got = ops.rope(x, positions, None, n_dims, ops.ROPE_NEOX, base, scale, 1.0, 1.1, 32.0, 1.0, context)

    def dimension(rotations: float) -> float:
        return n_dims * math.log(context / (rotations * 2 * math.pi)) / (2 * math.log(base))

    low, high = max(0, math.floor(dimension(32.0))), min(n_dims - 1, math.ceil(dimension(1.0)))

    def angle(position: int, i: int) -> tuple[float, float]:
        full = position * base ** (-2.0 * i / n_dims)
        mix = 1.0 - min(1.0, max(0.0, (i - low) / max(0.001, high - low)))
        return full * scale * (1 - mix) + full * mix, 1.1 * (1.0 + 0.1 * math.log(1.0 / scale))

    torch.testing.assert_close(got, rotated(x, positions, angle, ops.ROPE_NEOX, n_dims), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("window", [0, 3])
@pytest.mark.parametrize("softcap", [0.0, 2.0])
def test_causal_attention(window: int, softcap: float) -> None:
    q, k, v = torch.randn(1, 4, 4, 8), torch.randn(1, 12, 2, 8), torch.randn(1, 12, 2, 6)
    positions = torch.tensor([2, 0, 11, 5])
    got = ops.causal_attention(q, k, v, positions, 0.3, window, softcap)
    assert got.shape == (1, 4, 4, 6)
    for t, p in enumerate(positions.tolist()):
        first = max(0, p - window + 1) if window else 0
        for h in range(4):
            scores = k[0, first : p + 1, h // 2] @ q[0, t, h] * 0.3
            if softcap:
                scores = softcap * torch.tanh(scores / softcap)
            torch.testing.assert_close(got[0, t, h], scores.softmax(0) @ v[0, first : p + 1, h // 2])


def test_causal_attention_does_not_look_at_rows_beyond() -> None:
    q, k = torch.randn(1, 1, 2, 8), torch.randn(1, 12, 2, 8)
    positions = torch.tensor([4])
    expected = ops.causal_attention(q, k, k, positions, 0.3, 0, 0.0)
    k[:, 5:] = float("nan")
    assert torch.equal(ops.causal_attention(q, k, k, positions, 0.3, 0, 0.0), expected)


def test_mul_mat_id() -> None:
    experts, ids = torch.randn(4, 5, 8), torch.tensor([[0, 3], [1, 1], [2, 0]])
    for width in (1, 2):
        x = torch.randn(3, width, 8)
        got = ops.mul_mat_id(experts, x, ids)
        for t in range(3):
            for i in range(2):
                row = x[t, i if width == 2 else 0]
                torch.testing.assert_close(got[t, i], experts[ids[t, i]] @ row)


def test_moe_topk() -> None:
    scores = torch.tensor([[0.1, 0.9, 0.3], [0.5, 0.2, 0.4]])
    values, ids = ops.moe_topk(scores, 2)
    assert ids.tolist() == [[1, 2], [0, 2]]
    assert ids.dtype == torch.int64
    torch.testing.assert_close(values, torch.tensor([[0.9, 0.3], [0.5, 0.4]]))


CALLS = [
    (ops.rope, (torch.randn(1, 3, 2, 8), torch.arange(3), None, 8, 2, 1e4, 1.0, 0.0, 1.0, 32.0, 1.0, 0)),
    (ops.causal_attention, (*[torch.randn(1, 5, 2, 8)] * 3, torch.arange(5), 0.3, 2, 1.0)),
    (ops.mul_mat_id, (torch.randn(3, 4, 8), torch.randn(2, 1, 8), torch.tensor([[0, 1], [2, 2]]))),
    (ops.moe_topk, (torch.randn(3, 5), 2)),
    (ops.glu, (torch.randn(2, 3), torch.randn(2, 3), "silu")),
]


@pytest.mark.parametrize("operator,args", CALLS, ids=lambda x: getattr(x, "_name", ""))
def test_schema_fake_and_autograd_registration(operator, args) -> None:
    torch.library.opcheck(operator, args, test_utils=("test_schema", "test_faketensor"))


def test_meta_tensors_have_shapes() -> None:
    with torch.device("meta"):
        q, cache = torch.empty(1, 3, 8, 16), torch.empty(1, 64, 2, 16)
        assert ops.causal_attention(q, cache, cache, torch.empty(3, dtype=torch.int64), 1.0, 0, 0.0).shape == q.shape


@pytest.mark.parametrize(
    "call,message",
    [
        (
            lambda: ops.rope(torch.ones(3, 2, 8), torch.arange(4), None, 8, 2, 1e4, 1.0, 0.0, 1.0, 0.0, 0.0, 0),
            "4 positions",
        ),
        (lambda: ops.rope(torch.ones(3, 2, 8), torch.arange(3), None, 7, 2, 1e4, 1.0, 0.0, 1.0, 0.0, 0.0, 0), "even"),
        (lambda: ops.rope(torch.ones(3, 2, 8), torch.arange(3), None, 8, 1, 1e4, 1.0, 0.0, 1.0, 0.0, 0.0, 0), "mode"),
        (
            lambda: ops.causal_attention(
                *[torch.ones(1, 2, 3, 4)] * 2, torch.ones(1, 2, 2, 4), torch.arange(2), 1.0, 0, 0.0
            ),
            "one cache",
        ),
        (
            lambda: ops.causal_attention(
                torch.ones(1, 2, 3, 4), *[torch.ones(1, 2, 2, 4)] * 2, torch.arange(2), 1.0, 0, 0.0
            ),
            "share",
        ),
        (
            lambda: ops.mul_mat_id(torch.ones(2, 3, 4), torch.ones(2, 1, 5), torch.ones(2, 1, dtype=torch.int64)),
            "K of experts",
        ),
        (lambda: ops.moe_topk(torch.ones(2, 3), 4), "between 1 and 3"),
        (lambda: ops.glu(torch.ones(2), torch.ones(2), "tanh"), "activation"),
    ],
)
def test_refusals_name_what_is_wrong(call, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        call()
