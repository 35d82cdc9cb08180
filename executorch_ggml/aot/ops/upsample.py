"""Signals, images and volumes at another size, one dimension after the other.

`upsample_nearest1d`, `upsample_nearest2d`, `upsample_nearest3d`, `_upsample_nearest_exact2d`, `upsample_linear1d`,
`upsample_bilinear2d`, `upsample_trilinear3d`, `upsample_bicubic2d`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from executorch_ggml.aot.registry import Case, NodeView, register
from executorch_ggml.ir.builder import Builder, Unsupported, Value

from . import _axis, _resize_periodic

_aten = torch.ops.aten

Floats = npt.NDArray[np.float32]
# One neighbour: for every result pixel its position in the source, and its weight (None: 1).
Tap = tuple[npt.NDArray[np.int64], "Floats | None"]


def _factors(n: NodeView, count: int) -> list[float | None]:
    """The user's factor for each dimension, if any."""
    given: list[float | None] = [None] * count
    if n.has("scale_factors"):
        given = [float(s) for s in n.raw("scale_factors")]
    else:
        names = ["scales"] if count == 1 else ["scales_d", "scales_h", "scales_w"][3 - count :]
        given = [n.number(name) if n.has(name) else None for name in names]
    return [g if g is not None and g > 0 else None for g in given]


def _ratio(size: int, out: int, factor: float | None) -> np.float32:
    """Source pixels per result pixel, in torch's own precision."""
    ratio: np.float32 = np.float32(1.0 / factor if factor is not None else size / out)
    return ratio


def _sources(n: NodeView, size: int, out: int, ratio: np.float32) -> Floats:
    """Where the centres of the result's pixels lie in the source."""
    index = np.arange(out, dtype=np.float32)
    if n.flag("align_corners"):
        step = np.float32(size - 1) / np.float32(out - 1) if out > 1 else np.float32(0)
        return np.asarray(index * step, dtype=np.float32)
    return np.asarray((index + np.float32(0.5)) * ratio - np.float32(0.5), dtype=np.float32)


def _nearest(n: NodeView, size: int, out: int, ratio: np.float32) -> list[Tap]:
    # For any factor (3 pixels by 1.3 are 3 again) images keep such a dimension; signals and volumes do not.
    if size == out and n.out.rank == 4:
        return [(np.arange(size), None)]
    return [(np.floor(np.arange(out, dtype=np.float32) * ratio).astype(np.int64), None)]


def _nearest_exact(n: NodeView, size: int, out: int, ratio: np.float32) -> list[Tap]:
    return [(np.floor((np.arange(out, dtype=np.float32) + np.float32(0.5)) * ratio).astype(np.int64), None)]


def _linear(n: NodeView, size: int, out: int, ratio: np.float32) -> list[Tap]:
    if size == out:
        return [(np.arange(size), None)]
    source = np.maximum(_sources(n, size, out, ratio), np.float32(0))
    before = np.minimum(np.floor(source).astype(np.int64), size - 1)
    share = (source - before).astype(np.float32)
    return [(before, 1 - share), (before + 1, share)] if share.any() else [(before, None)]


def _cubic(n: NodeView, size: int, out: int, ratio: np.float32) -> list[Tap]:
    """Keys' kernel with a = -0.75."""
    source = _sources(n, size, out, ratio)
    before = np.floor(source).astype(np.int64)
    return [(before + i - 1, np.asarray(w, dtype=np.float32)) for i, w in enumerate(_keys(source - before))]


def _keys(t: Any) -> list[Any]:
    """Weights of four pixels for a result at a distance t behind the second."""
    a = -0.75

    def near(x: Any) -> Any:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: Any) -> Any:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


Taps = Callable[[NodeView, int, int, np.float32], list[Tap]]


def _resize(b: Builder, n: NodeView, taps: Taps) -> Value:
    n.require_float()
    x = b.f32(n.tensor("input" if n.takes("input") else "self"))
    for i, factor in enumerate(_factors(n, x.rank - 2)):
        size, out = x.shape[2 + i], n.out.shape[2 + i]
        if isinstance(size, int) and isinstance(out, int):
            x = _by_table(b, x, 2 + i, out, taps(n, size, out, _ratio(size, out, factor)))
        else:
            x = _by_period(b, n, x, 2 + i, _resize_periodic.period(size, out, factor), taps)
    return x


def _by_table(b: Builder, x: Value, dim: int, out: int, taps: list[Tap]) -> Value:
    total: Value | None = None
    for position, weight in taps:
        part = _axis.gather(b, x, dim, np.clip(position, 0, x.shape[dim] - 1).tolist())
        if weight is not None:
            part = b.mul(part, b.constant(weight.reshape(out, *[1] * (x.rank - 1 - dim))))
        total = part if total is None else b.add(total, part)
    assert total is not None
    return total


def _by_period(b: Builder, n: NodeView, x: Value, dim: int, how: _resize_periodic.Period, taps: Taps) -> Value:
    """A dimension of a size that is not known yet."""
    if taps is _nearest or taps is _nearest_exact:
        return _resize_periodic.nearest(b, x, dim, how, 0.5 if taps is _nearest_exact else 0.0)
    if how.results == how.sources:
        return x
    if n.flag("align_corners"):
        raise Unsupported("resizing with aligned corners depends on a dynamic dimension: no two results lie alike")
    if taps is _linear:
        return _resize_periodic.linear(b, x, dim, how)
    return _resize_periodic.cubic(b, x, dim, how, _keys)


_SIZES = [(2, 3, 7), (2, 3, 5, 6), (2, 3, 4, 5, 3)]


def _cases(mode: str, dims: int, **kwargs: Any) -> list[Case]:
    shape = _SIZES[dims - 1]

    def to(**how: Any) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda x: F.interpolate(x, mode=mode, **how, **kwargs)

    return [
        Case(to(size=tuple(2 * s for s in shape[2:])), [shape], name=f"twice {kwargs}"),
        Case(to(size=(8, 13, 5)[:dims]), [shape], name=f"uneven {kwargs}"),
        Case(to(size=(3, 2, 2)[:dims]), [shape], name=f"smaller {kwargs}"),
        Case(to(size=shape[2:]), [shape], name=f"same {kwargs}"),
        Case(to(size=(1,) * dims), [shape], name=f"one {kwargs}"),
        Case(to(scale_factor=(2.0, 1.5, 1.0)[:dims]), [shape], name=f"factors {kwargs}"),
        Case(to(scale_factor=1.3), [shape], name=f"odd factor {kwargs}"),
        Case(to(scale_factor=1.1), [shape], name=f"factor without effect {kwargs}"),
        Case(lambda x: to(scale_factor=2.0)(x.transpose(1, -1)), [shape], name=f"transposed {kwargs}"),
        Case(to(scale_factor=2.0), [shape], dynamic=[{0: ("n", 1, 4)}], name=f"dynamic batch {kwargs}"),
    ]


def _any_size(mode: str, dims: int, **kwargs: Any) -> list[Case]:
    """Sizes that are not known yet. With aligned corners such a dimension stays on the host."""
    shape = _SIZES[dims - 1]
    all_sides = [{2 + d: (f"s{d}", 2, 9) for d in range(dims)}]

    def to(factor: float) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda x: F.interpolate(x, scale_factor=factor, mode=mode, **kwargs)

    return [
        Case(to(2.0), [shape], all_sides, name=f"dynamic twice {kwargs}"),
        Case(to(3.0), [shape], [{2: ("s", 2, 9)}], name=f"dynamic thrice {kwargs}"),
        Case(to(0.5), [shape], [{2: ("s", 4, 9)}], name=f"dynamic half {kwargs}"),
        Case(to(1.5), [shape], [{2: ("s", 4, 9)}], name=f"dynamic one and a half {kwargs}"),
    ]


def _nearest2d() -> list[Case]:
    # Only of the two-dimensional ones can the exporter make something else.
    dynamic = [{2: ("h", 4, 9)}]
    return [
        *_cases("nearest", 2),
        *_any_size("nearest", 2),
        Case(lambda x: F.interpolate(x, scale_factor=1.3), [_SIZES[1]], dynamic, refused="dynamic dimension"),
    ]


def _corners(mode: str, dims: int) -> list[Case]:
    return [
        *_cases(mode, dims, align_corners=False),
        *_cases(mode, dims, align_corners=True),
        *(_any_size(mode, dims, align_corners=False) if dims == 2 else []),
    ]


@register(_aten.upsample_nearest1d.vec, _aten.upsample_nearest1d.default, keep=True, cases=lambda: _cases("nearest", 1))
@register(_aten.upsample_nearest2d.vec, _aten.upsample_nearest2d.default, keep=True, cases=_nearest2d)
@register(_aten.upsample_nearest3d.vec, _aten.upsample_nearest3d.default, keep=True, cases=lambda: _cases("nearest", 3))
def upsample_nearest(b: Builder, n: NodeView) -> Value:
    """Each result pixel is the source pixel at floor(index * ratio)."""
    return _resize(b, n, _nearest)


@register(
    _aten._upsample_nearest_exact2d.vec,
    _aten._upsample_nearest_exact2d.default,
    keep=True,
    cases=lambda: [*_cases("nearest-exact", 2), *_any_size("nearest-exact", 2)],
)
def upsample_nearest_exact(b: Builder, n: NodeView) -> Value:
    """Each result pixel is the source pixel under its centre."""
    return _resize(b, n, _nearest_exact)


@register(_aten.upsample_linear1d.vec, _aten.upsample_linear1d.default, keep=True, cases=lambda: _corners("linear", 1))
@register(
    _aten.upsample_bilinear2d.vec, _aten.upsample_bilinear2d.default, keep=True, cases=lambda: _corners("bilinear", 2)
)
@register(
    _aten.upsample_trilinear3d.vec,
    _aten.upsample_trilinear3d.default,
    keep=True,
    cases=lambda: _corners("trilinear", 3),
)
def upsample_linear(b: Builder, n: NodeView) -> Value:
    """Each result pixel lies between two source pixels of each dimension."""
    return _resize(b, n, _linear)


@register(
    _aten.upsample_bicubic2d.vec, _aten.upsample_bicubic2d.default, keep=True, cases=lambda: _corners("bicubic", 2)
)
def upsample_bicubic(b: Builder, n: NodeView) -> Value:
    """Each result pixel is a cubic mean of four source pixels of each dimension."""
    return _resize(b, n, _cubic)
