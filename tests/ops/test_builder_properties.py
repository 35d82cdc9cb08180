"""Random chains of builder operations on random shapes, ranks 1 to 6, against numpy. One dimension may be symbolic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from executorch_ggml.ir.builder import BinaryKind, Builder, DType, UnaryKind, Unsupported, Value
from executorch_ggml.ir.dump import dump
from executorch_ggml.ir.interpret import Interpreter

MOST = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SIZES = st.integers(1, 4)


@dataclass
class Both:
    """The same tensor as a value of the graph and as an array."""

    value: Value
    array: Any


def start(shape: tuple[int, ...], symbolic: bool) -> tuple[Builder, Both, Any]:
    b = Builder("property")
    array = np.random.default_rng(len(shape)).normal(size=shape)
    dims: list[Any] = list(shape)
    if symbolic:
        s = sympy.Symbol("s", positive=True, integer=True)
        dims[0] = s
        b.declare_symbol("s", 1, 64, ("FromInputDim", {"input": 0, "dim": 0}))
    return b, Both(b.add_input("x", tuple(dims), DType.FLOAT32), array), array


def finish(b: Builder, result: Both, x: Any) -> None:
    b.add_output("y", result.value)
    payload = b.serialize()
    (got,) = Interpreter(payload, {}).run([x])
    assert got.shape == result.array.shape, dump(payload)
    np.testing.assert_allclose(got, result.array, rtol=1e-6, atol=1e-6, err_msg=dump(payload))


def permute(b: Builder, t: Both, draw: Any) -> Both:
    order = draw(st.permutations(range(t.array.ndim)))
    return Both(b.permute(t.value, order), t.array.transpose(order))


def cut(b: Builder, t: Both, draw: Any) -> Both:
    dim = draw(st.integers(0, t.array.ndim - 1))
    size = t.value.shape[dim]
    if not isinstance(size, int):
        return t
    first = draw(st.integers(0, size - 1))
    step = draw(st.integers(1, 3))
    count = draw(st.integers(1, (size - first + step - 1) // step))
    index = [slice(None)] * t.array.ndim
    index[dim] = slice(first, first + (count - 1) * step + 1, step)
    return Both(b.slice(t.value, dim, first, count, step), t.array[tuple(index)])


def regroup(b: Builder, t: Both, draw: Any) -> Both:
    """Merges two neighbours, or splits a static dimension, or adds a one."""
    rank = t.array.ndim
    how = draw(st.sampled_from(["merge", "split", "one"]))
    dim = draw(st.integers(0, rank - 1))
    shape, real = list(t.value.shape), list(t.array.shape)
    if how == "merge" and dim + 1 < rank:
        shape[dim : dim + 2] = [shape[dim] * shape[dim + 1]]
        real[dim : dim + 2] = [real[dim] * real[dim + 1]]
    elif how == "split" and rank < 6 and isinstance(shape[dim], int):
        factor = draw(st.sampled_from([f for f in range(1, shape[dim] + 1) if shape[dim] % f == 0]))
        shape[dim : dim + 1] = [factor, shape[dim] // factor]
        real[dim : dim + 1] = [factor, real[dim] // factor]
    elif how == "one" and rank < 6:
        shape.insert(dim, 1)
        real.insert(dim, 1)
    return Both(b.reshape(t.value, tuple(shape)), t.array.reshape(real))


def widen(b: Builder, t: Both, draw: Any) -> Both:
    shape, real = list(t.value.shape), list(t.array.shape)
    for dim, size in enumerate(shape):
        if isinstance(size, int) and size == 1:
            shape[dim] = real[dim] = draw(st.integers(1, 3))
    if len(shape) < 6 and draw(st.booleans()):
        shape.insert(0, 2)
        real.insert(0, 2)
    return Both(b.expand(t.value, tuple(shape)), np.broadcast_to(t.array, real))


def with_constant(b: Builder, t: Both, draw: Any) -> Both:
    """An operation with a literal whose dimensions broadcast in a random pattern, on either side."""
    shape = [n if isinstance(n, int) and draw(st.booleans()) else 1 for n in t.value.shape]
    shape = shape[draw(st.integers(0, len(shape) - 1)) :]
    other = np.random.default_rng(3).uniform(0.5, 2.0, size=shape)
    constant = b.constant(other.astype(np.float32))
    kind, function = draw(
        st.sampled_from([(BinaryKind.ADD, np.add), (BinaryKind.SUB, np.subtract), (BinaryKind.MUL, np.multiply)])
    )
    if draw(st.booleans()):
        return Both(b.binary(kind, t.value, constant), function(t.array, other.astype(np.float32)))
    return Both(b.binary(kind, constant, t.value), function(other.astype(np.float32), t.array))


def joined(b: Builder, t: Both, draw: Any) -> Both:
    dim = draw(st.integers(0, t.array.ndim - 1))
    if t.array.shape[dim] > 8:
        return t
    doubled = b.unary(UnaryKind.NEG, t.value)
    return Both(b.concat([t.value, doubled], dim), np.concatenate([t.array, -t.array], axis=dim))


def reduced(b: Builder, t: Both, draw: Any) -> Both:
    if t.array.ndim < 2:
        return t
    dims = draw(st.lists(st.integers(0, t.array.ndim - 1), min_size=1, max_size=t.array.ndim - 1, unique=True))
    keep = draw(st.booleans())
    kind = draw(st.sampled_from(["sum", "mean", "max"]))
    return Both(b.reduce(kind, t.value, dims, keep), getattr(np, kind)(t.array, axis=tuple(dims), keepdims=keep))


STEPS = [permute, cut, regroup, widen, with_constant, joined, reduced]


@MOST
@given(data=st.data(), shape=st.lists(SIZES, min_size=1, max_size=5).map(tuple), symbolic=st.booleans())
def test_chains(data: Any, shape: tuple[int, ...], symbolic: bool) -> None:
    b, t, x = start(shape, symbolic)
    for step in data.draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=6)):
        try:
            t = step(b, t, data.draw)
        except Unsupported:
            if not symbolic:  # everything is known about a static shape
                raise
            return
    finish(b, t, x)


@MOST
@given(
    data=st.data(),
    batch=st.lists(SIZES, min_size=0, max_size=3),
    sizes=st.tuples(SIZES, SIZES, SIZES),
    square=st.booleans(),
)
def test_matrix_products(data: Any, batch: list[int], sizes: tuple[int, int, int], square: bool) -> None:
    m, k, n = (sizes[0],) * 3 if square else sizes
    left = [d if data.draw(st.booleans()) else 1 for d in batch]
    right = [d if data.draw(st.booleans()) else 1 for d in batch]
    right = right[data.draw(st.integers(0, len(right))) :]
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(*left, m, k)), rng.normal(size=(*right, k, n))
    b = Builder("property")
    a = b.add_input("x", x.shape, DType.FLOAT32)
    c = b.add_input("y", y.shape, DType.FLOAT32)
    transposed = data.draw(st.booleans())
    given_y = y
    if transposed:
        given_y = np.swapaxes(y, -1, -2)
        c = b.transpose(b.add_input("z", given_y.shape, DType.FLOAT32), -1, -2)
    b.add_output("o", b.matmul(a, c))
    inputs = [x, y, given_y] if transposed else [x, y]
    (got,) = Interpreter(b.serialize(), {}).run(inputs)
    np.testing.assert_allclose(got, np.matmul(x, y), rtol=1e-6, atol=1e-6)


def test_identical_nodes_are_one_and_unused_ones_vanish() -> None:
    b = Builder("sharing")
    x = b.add_input("x", (3, 4), DType.FLOAT32)
    one, two = b.unary(UnaryKind.EXP, x), b.unary(UnaryKind.EXP, x)
    b.unary(UnaryKind.SIN, x)
    b.add_output("y", b.add(one, two))
    text = dump(b.serialize())
    assert text.count("Unary(") == 1
    assert "input 0: x tensor float32[3, 4]" in text


def test_dimensions_that_cannot_be_proved_equal_are_refused() -> None:
    b = Builder("refusals")
    n, m = sympy.symbols("n m", positive=True, integer=True)
    x, y = b.add_input("x", (n, 4), DType.FLOAT32), b.add_input("y", (m, 4), DType.FLOAT32)
    with pytest.raises(Unsupported, match="broadcast"):
        b.add(x, y)
    with pytest.raises(Unsupported, match="as many elements"):
        b.reshape(x, (m, 4))
    with pytest.raises(Unsupported, match="int64"):
        b.f32(b.add_input("i", (3,), DType.INT64))
    b.add_output("o", b.unary(UnaryKind.EXP, x))
    with pytest.raises(Unsupported, match="cannot be computed"):
        b.serialize()
