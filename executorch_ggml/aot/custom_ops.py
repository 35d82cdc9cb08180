"""High-level operators: one node for the meaning of an attention block.

They are ordinary, functional `torch.library` operators in the namespace ``executorch_ggml``. The eager implementation
is the reference, computed in float32 or better. The fake implementation works on symbolic shapes. Models may call them
directly, and the passes rewrite plain ATen graphs into them. The backend lowers each of them to a few ggml operators.

Importing this module registers the operators; importing it twice is harmless.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

__all__ = ["ROPE_NEOX", "ROPE_NORM", "causal_attention", "glu", "moe_topk", "mul_mat_id", "rope"]

ROPE_NORM = 0
"""Rotates the pairs (2i, 2i + 1)."""
ROPE_NEOX = 2
"""Rotates the pairs (i, i + n_dims / 2), as Hugging Face's `rotate_half` does."""


def check(condition: object, message: Callable[[], str]) -> None:
    """RuntimeError with the message unless the condition holds; understands symbolic sizes."""
    torch._check(condition, message)  # type: ignore[no-untyped-call]


def _check_rope(
    x: torch.Tensor, positions: torch.Tensor, freq_factors: torch.Tensor | None, n_dims: int, mode: int
) -> None:
    check(x.dim() >= 3, lambda: f"rope: x must be [..., T, H, D], got rank {x.dim()}")
    check(x.is_floating_point(), lambda: f"rope: x must be floating point, got {x.dtype}")
    check(positions.dim() == 1, lambda: f"rope: positions must have rank 1, got rank {positions.dim()}")
    check(positions.dtype in (torch.int64, torch.int32), lambda: f"rope: positions must be integers: {positions.dtype}")
    check(
        positions.shape[0] == x.shape[-3],
        lambda: f"rope: {positions.shape[0]} positions for {x.shape[-3]} rows of x {tuple(x.shape)}",
    )
    check(mode in (ROPE_NORM, ROPE_NEOX), lambda: f"rope: mode must be 0 (pairs) or 2 (halves), got {mode}")
    check(
        n_dims > 0 and n_dims % 2 == 0 and n_dims <= x.shape[-1],
        lambda: f"rope: n_dims must be even and at most {x.shape[-1]}, got {n_dims}",
    )
    if freq_factors is not None:
        check(
            freq_factors.dim() == 1 and freq_factors.shape[0] == n_dims // 2,
            lambda: f"rope: freq_factors must be [{n_dims // 2}], got {tuple(freq_factors.shape)}",
        )


def _rope_angles(
    positions: torch.Tensor, freq_factors: torch.Tensor | None, n_dims: int, freq_base: float
) -> torch.Tensor:
    """Angles [T, n_dims / 2] in float64, without scaling."""
    half = torch.arange(n_dims // 2, dtype=torch.float64, device=positions.device)
    angles = positions.to(torch.float64)[:, None] * torch.pow(
        torch.tensor(freq_base, dtype=torch.float64, device=positions.device), -2.0 * half / n_dims
    )
    return angles if freq_factors is None else angles / freq_factors.to(torch.float64)


def _yarn_ramp(half: torch.Tensor, freq_base: float, beta_fast: float, beta_slow: float, n_ctx: int) -> torch.Tensor:
    """The share of the unscaled angle in each pair of dimensions, as in ggml. half: the numbers of the pairs."""
    n_dims = 2 * len(half)

    def correction_dim(rotations: float) -> float:
        return n_dims * math.log(n_ctx / (rotations * 2.0 * math.pi)) / (2.0 * math.log(freq_base))

    low = max(0.0, math.floor(correction_dim(beta_fast)))
    high = min(n_dims - 1.0, math.ceil(correction_dim(beta_slow)))
    return 1.0 - ((half - low) / max(0.001, high - low)).clamp(0.0, 1.0)


@torch.library.custom_op("executorch_ggml::rope", mutates_args=())
def rope(
    x: torch.Tensor,
    positions: torch.Tensor,
    freq_factors: torch.Tensor | None,
    n_dims: int,
    mode: int,
    freq_base: float,
    freq_scale: float,
    ext_factor: float,
    attn_factor: float,
    beta_fast: float,
    beta_slow: float,
    n_ctx_orig: int,
) -> torch.Tensor:
    """Rotary position embedding, with ggml's formula (YaRN included).

    Args:
        x: [..., T, H, D], floating point; the first n_dims of D are rotated, the rest are copied.
        positions: int64 (or int32) [T].
        freq_factors: [n_dims / 2] divisors of the frequencies, or None.
        n_dims: number of rotated dimensions, even.
        mode: ROPE_NORM (0): pairs (2i, 2i + 1); ROPE_NEOX (2): pairs (i, i + n_dims / 2).
        freq_base: theta; the frequency of pair i is theta ** (-2 i / n_dims).
        freq_scale: factor on the angles (1 / the linear scaling factor).
        ext_factor: 0 for none, 1 for YaRN.
        attn_factor: factor on cos and sin.
        beta_fast, beta_slow, n_ctx_orig: YaRN's ramp; not read when ext_factor is 0.

    Returns:
        [..., T, H, D] in x's dtype, contiguous. Angles are computed in float64, cos and sin cast to float32.

    Raises:
        RuntimeError: a shape, dtype or mode is not as above.
    """
    _check_rope(x, positions, freq_factors, n_dims, mode)
    theta, magnitude = _rope_angles(positions, freq_factors, n_dims, freq_base), attn_factor
    if ext_factor == 0.0:
        theta = theta * freq_scale
    else:
        half = torch.arange(n_dims // 2, dtype=torch.float64, device=positions.device)
        ramp = _yarn_ramp(half, freq_base, beta_fast, beta_slow, n_ctx_orig) * ext_factor
        theta = theta * freq_scale * (1.0 - ramp) + theta * ramp
        magnitude = attn_factor * (1.0 + 0.1 * math.log(1.0 / freq_scale))
    compute = torch.promote_types(x.dtype, torch.float32)
    cos = (theta.cos() * magnitude).to(compute)[:, None, :]
    sin = (theta.sin() * magnitude).to(compute)[:, None, :]
    head = x[..., :n_dims].to(compute)
    if mode == ROPE_NEOX:
        first, second = head[..., : n_dims // 2], head[..., n_dims // 2 :]
    else:
        first, second = head[..., 0::2], head[..., 1::2]
    rotated = (first * cos - second * sin, first * sin + second * cos)
    result = torch.cat(rotated, dim=-1) if mode == ROPE_NEOX else torch.stack(rotated, dim=-1).flatten(-2)
    result = result.to(x.dtype)
    if n_dims < x.shape[-1]:
        result = torch.cat((result, x[..., n_dims:]), dim=-1)
    return result.contiguous()


@rope.register_fake
def _(
    x: torch.Tensor, positions: torch.Tensor, freq_factors: torch.Tensor | None, n_dims: int, mode: int, *_: float
) -> torch.Tensor:
    _check_rope(x, positions, freq_factors, n_dims, mode)
    return x.new_empty(x.shape)


def _check_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, positions: torch.Tensor, window: int) -> None:
    check(
        q.dim() == 4 and k.dim() == 4 and v.dim() == 4,
        lambda: f"causal_attention: q, k and v must have rank 4, got {q.dim()}, {k.dim()}, {v.dim()}",
    )
    check(positions.dim() == 1, lambda: f"causal_attention: positions must have rank 1, got {positions.dim()}")
    check(
        positions.shape[0] == q.shape[1],
        lambda: f"causal_attention: {positions.shape[0]} positions for {q.shape[1]} queries",
    )
    check(
        q.shape[3] == k.shape[3],
        lambda: f"causal_attention: head size of q ({q.shape[3]}) and k ({k.shape[3]}) differ",
    )
    check(
        k.shape[0] == q.shape[0] and v.shape[0] == q.shape[0],
        lambda: f"causal_attention: batch sizes differ: q {q.shape[0]}, k {k.shape[0]}, v {v.shape[0]}",
    )
    check(
        k.shape[1] == v.shape[1] and k.shape[2] == v.shape[2],
        lambda: f"causal_attention: k {tuple(k.shape)} and v {tuple(v.shape)} are not one cache",
    )
    check(
        q.shape[2] % k.shape[2] == 0,
        lambda: f"causal_attention: {q.shape[2]} query heads cannot share {k.shape[2]} key heads",
    )
    check(window >= 0, lambda: f"causal_attention: window must be 0 (none) or positive, got {window}")


@torch.library.custom_op("executorch_ggml::causal_attention", mutates_args=())
def causal_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    positions: torch.Tensor,
    scale: float,
    window: int,
    softcap: float,
) -> torch.Tensor:
    """Attention of T queries over a whole cache, of which only rows up to the query's position are visible.

    softmax(scale * q k^T, masked) v, with the score s replaced by softcap * tanh(s / softcap) if softcap != 0.
    Key j is visible to query i iff ``j <= positions[i]`` and (window == 0 or ``positions[i] - j < window``).

    Args:
        q: [B, T, H, D].
        k: [B, S, Hkv, D], v: [B, S, Hkv, Dv]: whole caches, H % Hkv == 0; query head h reads key head
            h // (H / Hkv).
        positions: int64 [T], each in 0..S-1: row of the cache that holds the query's own key.
        scale: factor on the scores, usually 1 / sqrt(D).
        window: length of the sliding window in keys, own key included; 0 for none.
        softcap: bound of the scores, 0 for none.

    Returns:
        [B, T, H, Dv] in q's dtype, contiguous.

    Raises:
        RuntimeError: a shape is not as above.
    """
    _check_attention(q, k, v, positions, window)
    batch, n_query, n_head, head_dim = q.shape
    n_kv_head = k.shape[2]
    # Rows beyond the largest position are invisible to every query.
    filled = int(positions.max()) + 1 if n_query else 0
    compute = torch.promote_types(q.dtype, torch.float32)
    queries = q.to(compute).reshape(batch, n_query, n_kv_head, n_head // n_kv_head, head_dim)
    keys, values = k[:, :filled].to(compute), v[:, :filled].to(compute)
    scores = torch.einsum("bthgd,bshd->bhgts", queries, keys) * scale
    if softcap != 0.0:
        scores = torch.tanh(scores / softcap) * softcap
    distance = positions[:, None] - torch.arange(keys.shape[1], device=positions.device)[None, :]
    visible = distance >= 0
    if window > 0:
        visible = visible & (distance < window)
    scores = scores.masked_fill(~visible, float("-inf"))
    result = torch.einsum("bhgts,bshd->bthgd", scores.softmax(dim=-1), values)
    return result.reshape(batch, n_query, n_head, v.shape[3]).to(q.dtype).contiguous()


@causal_attention.register_fake
def _(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    positions: torch.Tensor,
    scale: float,
    window: int,
    softcap: float,
) -> torch.Tensor:
    _check_attention(q, k, v, positions, window)
    return q.new_empty((q.shape[0], q.shape[1], q.shape[2], v.shape[3]))


def _check_mul_mat_id(experts: torch.Tensor, x: torch.Tensor, ids: torch.Tensor) -> None:
    check(
        experts.dim() == 3 and x.dim() == 3 and ids.dim() == 2,
        lambda: (
            f"mul_mat_id: want experts [E, N, K], x [T, 1 | n, K], ids [T, n]; got ranks {experts.dim()}, "
            f"{x.dim()}, {ids.dim()}"
        ),
    )
    check(
        experts.shape[2] == x.shape[2],
        lambda: f"mul_mat_id: K of experts ({experts.shape[2]}) and of x ({x.shape[2]}) differ",
    )
    check(ids.shape[0] == x.shape[0], lambda: f"mul_mat_id: {ids.shape[0]} rows of ids for {x.shape[0]} rows of x")
    check(
        x.shape[1] == 1 or x.shape[1] == ids.shape[1],
        lambda: f"mul_mat_id: dimension 1 of x must be 1 or {ids.shape[1]}, got {x.shape[1]}",
    )


@torch.library.custom_op("executorch_ggml::mul_mat_id", mutates_args=())
def mul_mat_id(experts: torch.Tensor, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Matrix product with a matrix chosen per row: result[t, i] = experts[ids[t, i]] @ x[t, i or 0].

    Args:
        experts: [E, N, K].
        x: [T, 1, K] (one row shared by the chosen experts) or [T, n_used, K].
        ids: int64 [T, n_used], each in 0..E-1.

    Returns:
        [T, n_used, N] in x's dtype, contiguous.

    Raises:
        RuntimeError: a shape is not as above.
    """
    _check_mul_mat_id(experts, x, ids)
    n_used = ids.shape[1]
    compute = torch.promote_types(x.dtype, torch.float32)
    rows = x.to(compute).expand(x.shape[0], n_used, x.shape[2])
    result = torch.empty((x.shape[0], n_used, experts.shape[1]), dtype=compute, device=x.device)
    for expert in sorted(set(ids.reshape(-1).tolist())):
        token, slot = torch.where(ids == expert)
        result[token, slot] = rows[token, slot] @ experts[expert].to(compute).T
    return result.to(x.dtype)


@mul_mat_id.register_fake
def _(experts: torch.Tensor, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    _check_mul_mat_id(experts, x, ids)
    return x.new_empty((ids.shape[0], ids.shape[1], experts.shape[1]))


def _check_moe_topk(scores: torch.Tensor, k: int) -> None:
    check(scores.dim() == 2, lambda: f"moe_topk: scores must be [T, E], got rank {scores.dim()}")
    check(1 <= k <= scores.shape[1], lambda: f"moe_topk: k must be between 1 and {scores.shape[1]}, got {k}")


@torch.library.custom_op("executorch_ggml::moe_topk", mutates_args=())
def moe_topk(scores: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k largest scores of each row and their columns, in descending order.

    Args:
        scores: [T, E].
        k: how many, 1..E.

    Returns:
        (values [T, k] in scores' dtype, ids int64 [T, k]). The order among equal scores is not specified.

    Raises:
        RuntimeError: scores is not a matrix, or k is out of range.
    """
    _check_moe_topk(scores, k)
    values, ids = scores.topk(k, dim=-1, largest=True, sorted=True)
    return values.contiguous(), ids.contiguous()


@moe_topk.register_fake
def _(scores: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    _check_moe_topk(scores, k)
    shape = (scores.shape[0], k)
    return scores.new_empty(shape), scores.new_empty(shape, dtype=torch.int64)


_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "silu": torch.nn.functional.silu,
    "gelu": torch.nn.functional.gelu,
    "relu": torch.nn.functional.relu,
}


def _check_glu(gate: torch.Tensor, up: torch.Tensor, activation: str) -> None:
    check(activation in _ACTIVATIONS, lambda: f"glu: activation must be one of {sorted(_ACTIVATIONS)}: {activation!r}")
    check(gate.dim() == up.dim(), lambda: f"glu: ranks {gate.dim()} and {up.dim()} differ")
    for dim in range(gate.dim()):
        check(gate.shape[dim] == up.shape[dim], lambda: f"glu: {tuple(gate.shape)} and {tuple(up.shape)} differ")
    check(gate.dtype == up.dtype, lambda: f"glu: {gate.dtype} and {up.dtype} differ")


@torch.library.custom_op("executorch_ggml::glu", mutates_args=())
def glu(gate: torch.Tensor, up: torch.Tensor, activation: str) -> torch.Tensor:
    """activation(gate) * up: the gated unit of SwiGLU ("silu"), GeGLU ("gelu", exact) and ReGLU ("relu").

    Args:
        gate, up: floating point, of one shape and dtype.
        activation: "silu", "gelu" or "relu".

    Returns:
        A tensor of the same shape and dtype, contiguous.

    Raises:
        RuntimeError: shapes or dtypes differ, or the activation is not known.
    """
    _check_glu(gate, up, activation)
    return (_ACTIVATIONS[activation](gate) * up).contiguous()


@glu.register_fake
def _(gate: torch.Tensor, up: torch.Tensor, activation: str) -> torch.Tensor:
    _check_glu(gate, up, activation)
    return gate.new_empty(gate.shape)
