"""Fourier transforms as products with matrices of sines and cosines, on pairs of real numbers.

The matrices are computed in double and stored in F32. A result is a sum of n products in F32. Its error is at most n
times 6e-8 of the largest number of a spectrum, and about the square root of n times that in practice. torch's own
transform is about log2(n) times 6e-8 off. A NaN makes the whole transform NaN, as in torch. Of an infinity torch makes
infinities and NaN; here all of those are NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.fx import Node

from ._graph import argument, aten, dim_index, is_call, is_tensor, shape, value
from ._pairs import NotKnownError, Pairs, is_complex

_LARGEST = 1 << 24
"""Elements of a matrix: 64 MiB."""


def _matrix(inputs: int, outputs: int, size: int, *, forward: bool, scale: float) -> torch.Tensor:
    """[inputs, outputs] of exp(-+ 2 pi i j k / size) * scale, complex."""
    if inputs * outputs * 4 > _LARGEST:
        raise NotKnownError(f"a Fourier transform of {size} elements: its matrix would be larger than 64 MiB")
    turns = torch.outer(torch.arange(inputs), torch.arange(outputs)) % size  # whole numbers: exact
    angle = turns.to(torch.float64) * ((-2.0 if forward else 2.0) * math.pi / size)
    return torch.polar(torch.full_like(angle, scale), angle)


def _from_real(m: torch.Tensor) -> torch.Tensor:
    """Complex [n, k] as the real matrix [n, 2 k] that makes pairs of real numbers."""
    return torch.view_as_real(m).flatten(1)


def _from_complex(m: torch.Tensor) -> torch.Tensor:
    """Complex [n, k] as the real matrix [2 n, 2 k] that makes pairs of pairs."""
    rows = torch.stack([torch.view_as_real(m), torch.view_as_real(m * 1j)], 1)
    return rows.reshape(2 * m.shape[0], -1)


def _to_real(size: int, scale: float) -> torch.Tensor:
    """[2 (size // 2 + 1), size]: half a spectrum to real numbers. The rest of it is this half's conjugate."""
    half = size // 2 + 1
    m = _matrix(half, size, size, forward=False, scale=scale)
    weight = torch.full((half, 1), 2.0, dtype=torch.float64)
    weight[0] = 1.0
    alone = [0]
    if size % 2 == 0:
        weight[-1] = 1.0
        alone.append(half - 1)
    sine = -m.imag * weight
    sine[alone] = 0.0  # numbers without a partner are taken for real
    return torch.stack([m.real * weight, sine], 1).reshape(2 * half, size)


def _scale(norm: Any, size: int, forward: bool) -> float:
    if norm in (None, "backward"):
        return 1.0 if forward else 1.0 / size
    if norm == "ortho":
        return 1.0 / math.sqrt(size)
    if norm == "forward":
        return 1.0 / size if forward else 1.0
    raise NotKnownError(f"norm {norm!r}")


def _static(size: Any) -> int:
    if not isinstance(size, int):
        raise NotKnownError("a Fourier transform over a dynamic size")
    return size


def _fit(p: Pairs, x: Node, dim: int, size: int) -> Node:
    """Cut or filled up with zeros at its end."""
    have = _static(shape(x)[dim])
    if have > size:
        return p.call(aten.slice.Tensor, x, dim, 0, size)
    if have < size:
        rank = value(x).dim()
        return p.call(aten.constant_pad_nd.default, x, [0, 0] * (rank - 1 - dim) + [0, size - have], 0.0)
    return x


def _multiply(p: Pairs, x: Node, m: torch.Tensor) -> Node:
    if value(x).dtype != torch.float32:
        raise NotKnownError(f"a Fourier transform of {value(x).dtype}")
    return p.call(aten.matmul.default, x, p.editor.add_constant(m.to(torch.float32), "fourier"))


def _real_to_complex(p: Pairs, x: Node, dim: int, size: int, scale: float, onesided: bool, forward: bool) -> Node:
    x = _fit(p, x, dim, size)
    count = size // 2 + 1 if onesided else size
    rank = value(x).dim()
    m = _from_real(_matrix(size, count, size, forward=forward, scale=scale))
    y = _multiply(p, p.call(aten.transpose.int, x, dim, rank - 1), m)
    return p.call(aten.transpose.int, p.call(aten.unflatten.int, y, -1, [count, 2]), dim, rank - 1)


def _complex_to_complex(p: Pairs, pair: Node, dim: int, size: int, scale: float, forward: bool) -> Node:
    pair = _fit(p, pair, dim, size)
    last = value(pair).dim() - 2
    rows = p.call(aten.flatten.using_ints, p.call(aten.transpose.int, pair, dim, last), -2, -1)
    y = _multiply(p, rows, _from_complex(_matrix(size, size, size, forward=forward, scale=scale)))
    return p.call(aten.transpose.int, p.call(aten.unflatten.int, y, -1, [size, 2]), dim, last)


def _complex_to_real(p: Pairs, pair: Node, dim: int, size: int, scale: float) -> Node:
    pair = _fit(p, pair, dim, size // 2 + 1)
    last = value(pair).dim() - 2
    rows = p.call(aten.flatten.using_ints, p.call(aten.transpose.int, pair, dim, last), -2, -1)
    return p.call(aten.transpose.int, _multiply(p, rows, _to_real(size, scale)), dim, last)


def _source(n: Node) -> Node:
    source = n.args[0]
    if not isinstance(source, Node):
        raise NotKnownError("an operand that is no node")
    return source


def _plan(n: Node, many: bool, halved: bool) -> list[tuple[int, int]]:
    """Dimensions and sizes, in order; the last is halved in the operand if ``halved``."""
    source = _source(n)
    dims_shape, rank = shape(source), value(source).dim()
    sizes: Any = argument(n, 1, "s" if many else "n")
    dims: Any = argument(n, 2, "dim", None if many else -1)
    sizes = None if sizes is None else list(sizes) if many else [sizes]
    if many and dims is None:
        two = str(n.target).endswith(("fft2.default", "fft2"))
        dims = [-2, -1] if two else range(rank) if sizes is None else range(-len(sizes), 0)
    dims = [dim_index(d, rank) for d in (dims if many else [dims])]
    found = []
    for i, d in enumerate(dims):
        size = dims_shape[d] if sizes is None or sizes[i] == -1 else sizes[i]
        if halved and i == len(dims) - 1 and (sizes is None or sizes[i] == -1):
            size = 2 * (_static(size) - 1)
        found.append((d, _static(size)))
    if not found or any(size < 1 for _, size in found):
        raise NotKnownError("a Fourier transform of nothing")
    return found


def _fft(many: bool, forward: bool) -> Callable[[Pairs, Node], Node]:
    def lower(p: Pairs, n: Node) -> Node:
        source, norm = _source(n), argument(n, 3, "norm")
        pair = p.pair(source) if is_complex(source) else None
        for dim, size in _plan(n, many, halved=False):
            scale = _scale(norm, size, forward)
            if pair is None:
                pair = _real_to_complex(p, source, dim, size, scale, onesided=False, forward=forward)
            else:
                pair = _complex_to_complex(p, pair, dim, size, scale, forward)
        assert pair is not None
        return pair

    return lower


def _rfft(many: bool) -> Callable[[Pairs, Node], Node]:
    def lower(p: Pairs, n: Node) -> Node:
        norm = argument(n, 3, "norm")
        *others, (dim, size) = _plan(n, many, halved=False)
        source = _source(n)
        pair = _real_to_complex(p, source, dim, size, _scale(norm, size, True), onesided=True, forward=True)
        for dim, size in others:
            pair = _complex_to_complex(p, pair, dim, size, _scale(norm, size, True), forward=True)
        return pair

    return lower


def _irfft(many: bool) -> Callable[[Pairs, Node], Node]:
    def lower(p: Pairs, n: Node) -> Node:
        norm, pair = argument(n, 3, "norm"), p.pair(_source(n))
        *others, (dim, size) = _plan(n, many, halved=True)
        for other, length in others:
            pair = _complex_to_complex(p, pair, other, length, _scale(norm, length, False), forward=False)
        return _complex_to_real(p, pair, dim, size, _scale(norm, size, False))

    return lower


def _frames(n: Node, window_at: int) -> tuple[int, int, int, Any]:
    """n_fft, hop, the window's length, the window."""
    size = _static(n.args[1])
    hop, width = argument(n, 2, "hop_length"), argument(n, 3, "win_length")
    return (
        size,
        size // 4 if hop is None else _static(hop),
        size if width is None else _static(width),
        argument(n, window_at, "window"),
    )


def _known(p: Pairs, node: Any) -> torch.Tensor | None:
    """A constant, or one that the program computes from nothing else (torch.hann_window in forward)."""
    if not is_tensor(node) or (data := p.editor.constant(node)) is not None:
        return data if is_tensor(node) else None
    if not is_call(node) or not isinstance(node.target, torch._ops.OpOverload):
        return None
    if torch.Tag.nondeterministic_seeded in node.target.tags:
        return None
    found = {source: _known(p, source) for source in node.all_input_nodes}
    if any(data is None for data in found.values()):
        return None
    args, kwargs = torch.fx.map_arg((node.args, node.kwargs), lambda source: found[source])
    with torch.no_grad():
        made = node.target(*args, **kwargs)
    return made if isinstance(made, torch.Tensor) else None


def _window(p: Pairs, given: Any, width: int, size: int) -> torch.Tensor:
    """The window in the middle of a frame, in double."""
    if given is None:
        window = torch.ones(width, dtype=torch.float64)
    else:
        data = _known(p, given)
        if data is None or data.is_complex():
            raise NotKnownError("a window that is no constant of real numbers")
        window = data.to(torch.float64)
    left = (size - width) // 2
    return torch.nn.functional.pad(window, (left, size - width - left))


def _stft(p: Pairs, n: Node) -> Node:
    """One convolution: its kernels are the rows of the transform's matrix under the window, its stride is the hop."""
    x = _source(n)
    size, hop, width, given = _frames(n, 4)
    onesided = argument(n, 6, "onesided")
    if is_complex(x) or value(x).dtype != torch.float32:
        raise NotKnownError(f"stft of {value(x).dtype}")
    if argument(n, 8, "align_to_window"):
        raise NotKnownError("stft with align_to_window")
    scale = 1.0 / math.sqrt(size) if argument(n, 5, "normalized", False) else 1.0
    count = size if onesided is False else size // 2 + 1
    m = _from_real(_matrix(size, count, size, forward=True, scale=scale)) * _window(p, given, width, size)[:, None]
    kernel = p.editor.add_constant(m.t().contiguous().unsqueeze(1).to(torch.float32), "fourier")
    single = value(x).dim() == 1
    rows = p.call(aten.unsqueeze.default, x, 0) if single else x
    rows = p.call(aten.unsqueeze.default, rows, 1)
    y = p.call(aten.convolution.default, rows, kernel, None, [hop], [0], [1], False, [0], 1)
    pair = p.call(aten.permute.default, p.call(aten.unflatten.int, y, 1, [count, 2]), [0, 1, 3, 2])
    return p.call(aten.select.int, pair, 0, 0) if single else pair


INTO_PAIRS: dict[Any, Callable[[Pairs, Node], Node]] = {
    aten.fft_fft.default: _fft(many=False, forward=True),
    aten.fft_ifft.default: _fft(many=False, forward=False),
    aten.fft_fft2.default: _fft(many=True, forward=True),
    aten.fft_ifft2.default: _fft(many=True, forward=False),
    aten.fft_fftn.default: _fft(many=True, forward=True),
    aten.fft_ifftn.default: _fft(many=True, forward=False),
    aten.fft_rfft.default: _rfft(many=False),
    aten.fft_rfft2.default: _rfft(many=True),
    aten.fft_rfftn.default: _rfft(many=True),
    aten.stft.default: _stft,
}

FROM_PAIRS: dict[Any, Callable[[Pairs, Node], Node]] = {
    aten.fft_irfft.default: _irfft(many=False),
    aten.fft_irfft2.default: _irfft(many=True),
    aten.fft_irfftn.default: _irfft(many=True),
}
