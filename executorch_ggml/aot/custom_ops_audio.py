"""High-level operators of audio encoders, in the manner of `custom_ops`.

Importing this module registers them; importing it twice is harmless.
"""

from __future__ import annotations

import torch

from .custom_ops import check

__all__ = ["likeliest", "most_likely", "relative_shift", "take_rows"]


def _check_shift(scores: torch.Tensor) -> None:
    check(scores.dim() == 3, lambda: f"relative_shift: scores must be [H, T, 2T - 1], got rank {scores.dim()}")
    check(
        scores.shape[2] == 2 * scores.shape[1] - 1,
        lambda: f"relative_shift: {scores.shape[1]} queries have distances of their own for {scores.shape[2]} columns",
    )


@torch.library.custom_op("executorch_ggml::relative_shift", mutates_args=())
def relative_shift(scores: torch.Tensor) -> torch.Tensor:
    """Scores by distance to scores by key: result[h, i, j] = scores[h, i, T - 1 - i + j].

    Column c of the scores belongs to the distance T - 1 - c between query and key, as relative position embeddings are
    laid out from the longest distance down.

    Args:
        scores: [H, T, 2T - 1].

    Returns:
        [H, T, T], contiguous.

    Raises:
        RuntimeError: the shape is not as above.
    """
    _check_shift(scores)
    length = scores.shape[1]
    key = torch.arange(length, device=scores.device)
    column = (length - 1) - key[:, None] + key[None, :]
    return scores.gather(2, column.expand(scores.shape[0], -1, -1)).contiguous()


@relative_shift.register_fake
def _(scores: torch.Tensor) -> torch.Tensor:
    _check_shift(scores)
    return scores.new_empty((scores.shape[0], scores.shape[1], scores.shape[1]))


def _check_take(cache: torch.Tensor, rows: torch.Tensor) -> None:
    check(cache.dim() == 4, lambda: f"take_rows: the cache must be [1, S, H, D], got rank {cache.dim()}")
    check(rows.dim() == 1, lambda: f"take_rows: rows must have rank 1, got rank {rows.dim()}")
    check(cache.shape[0] == 1, lambda: f"take_rows: a cache of {cache.shape[0]} sequences; one is implemented")


@torch.library.custom_op("executorch_ggml::take_rows", mutates_args=())
def take_rows(cache: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Rows of a cache of keys or values, which keeps its storage type: result[0, i] = cache[0, rows[i]].

    Written back at the beginning of the cache, they make room for more.

    Args:
        cache: [1, S, H, D].
        rows: int64 [n], each in 0..S-1.

    Returns:
        [1, n, H, D], contiguous.

    Raises:
        RuntimeError: a shape is not as above.
    """
    _check_take(cache, rows)
    return cache.index_select(1, rows).contiguous()


@take_rows.register_fake
def _(cache: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    _check_take(cache, rows)
    return cache.new_empty((1, rows.shape[0], cache.shape[2], cache.shape[3]))


def _check_most_likely(scores: torch.Tensor) -> None:
    check(scores.dim() >= 1, lambda: "most_likely: scores must have a dimension to choose along")
    check(scores.is_floating_point(), lambda: f"most_likely: scores must be floating point, got {scores.dtype}")


@torch.library.custom_op("executorch_ggml::most_likely", mutates_args=())
def most_likely(scores: torch.Tensor) -> torch.Tensor:
    """Index of the largest score along the last dimension, for greedy decoding.

    `torch.argmax` promises the first of several equal scores and finds NaN. This operator may return any of them and
    does not look for NaN. So it is one ggml operator in place of twenty.

    Args:
        scores: [..., n], floating point.

    Returns:
        int64 [...].

    Raises:
        RuntimeError: the scores are not as above.
    """
    _check_most_likely(scores)
    return scores.argmax(dim=-1)


@most_likely.register_fake
def _(scores: torch.Tensor) -> torch.Tensor:
    _check_most_likely(scores)
    return scores.new_empty(scores.shape[:-1], dtype=torch.int64)


likeliest = most_likely
"""The name until release 0.1."""
