"""Convolutions with odd parameters, pooling, resizing."""

from __future__ import annotations

from random_graphs import Draft, Variable
from vocabulary import word


def window(d: Draft, v: Variable, spatial: int) -> tuple[list[int], list[int], list[int], list[int]] | None:
    """Kernel, stride, padding, dilation such that every output has at least one element."""
    kernel, stride, padding, dilation = [], [], [], []
    for i in range(v.rank - spatial, v.rank):
        k, pad, step = d.integer(1, 3), d.integer(0, 2), d.integer(1, 2)
        if step * (k - 1) + 1 > v.least(i) + 2 * pad:
            return None
        kernel.append(k)
        padding.append(pad)
        dilation.append(step)
        stride.append(d.integer(1, 3))
    return kernel, stride, padding, dilation


def convolution(d: Draft, v: Variable, spatial: int) -> str | None:
    found = window(d, v, spatial)
    if found is None or not v.static(1):
        return None
    kernel, stride, padding, dilation = found
    channels = v.shape[1]
    groups = d.pick([g for g in range(1, channels + 1) if channels % g == 0])
    out = groups * d.integer(1, 2)
    weight = d.make((out, channels // groups, *kernel), weight=d.integer(0, 3) > 0)
    bias = d.make((out,), weight=True) if d.flag() else None
    return f"F.conv{spatial}d({v}, {weight}, {bias}, {stride}, {padding}, {dilation}, {groups})"


@word(range(3, 4), product=True)
def conv1d(d: Draft, v: Variable) -> str | None:
    return convolution(d, v, 1)


@word(range(4, 5), product=True)
def conv2d(d: Draft, v: Variable) -> str | None:
    return convolution(d, v, 2)


@word(range(4, 5), product=True)
def conv_transpose2d(d: Draft, v: Variable) -> str | None:
    if not v.static(1):
        return None
    kernel = (d.integer(1, 3), d.integer(1, 3))
    stride = d.integer(1, 3)
    weight = d.make((v.shape[1], d.integer(1, 3), *kernel), weight=True)
    extra = d.integer(0, stride - 1)
    return f"F.conv_transpose2d({v}, {weight}, None, {stride}, {d.integer(0, min(kernel) - 1)}, {extra})"


def pooling(d: Draft, v: Variable, spatial: int) -> str | None:
    found = window(d, v, spatial)
    if found is None:
        return None
    kernel, stride, padding, dilation = found
    padding = [min(p, k // 2) for p, k in zip(padding, kernel, strict=True)]
    if any(e * (k - 1) + 1 > v.least(v.rank - spatial + i) + 2 * p
           for i, (k, p, e) in enumerate(zip(kernel, padding, dilation, strict=True))):  # fmt: skip
        return None
    if d.flag():
        return f"F.max_pool{spatial}d({v}, {kernel}, {stride}, {padding}, {dilation}, ceil_mode={d.flag()})"
    if any(k > v.least(v.rank - spatial + i) + 2 * p for i, (k, p) in enumerate(zip(kernel, padding, strict=True))):
        return None
    return f"F.avg_pool{spatial}d({v}, {kernel}, {stride}, {padding}, {d.flag()}, {d.flag()})"


@word(range(3, 4), rounds=True)
def pool1d(d: Draft, v: Variable) -> str | None:
    return pooling(d, v, 1)


@word(range(3, 5), rounds=True)
def pool2d(d: Draft, v: Variable) -> str | None:
    return pooling(d, v, 2)


@word(range(3, 5), rounds=True)
def adaptive_pool2d(d: Draft, v: Variable) -> str | None:
    if not (v.static(v.rank - 1) and v.static(v.rank - 2)):
        return None
    return f"F.adaptive_avg_pool2d({v}, ({d.integer(1, 4)}, {d.integer(1, 4)}))"


@word(range(4, 5), rounds=True)
def upsample(d: Draft, v: Variable) -> str | None:
    if not (v.static(2) and v.static(3)):
        return f"F.interpolate({v}, scale_factor=2, mode='nearest')"
    mode = d.pick(["nearest", "bilinear", "bicubic", "nearest-exact"])
    size = f"size=({d.integer(1, 6)}, {d.integer(1, 6)})" if d.flag() else f"scale_factor={d.pick([2, 1.5, (2, 3)])}"
    corners = f", align_corners={d.flag()}" if mode in ("bilinear", "bicubic") else ""
    return f"F.interpolate({v}, {size}, mode='{mode}'{corners})"
