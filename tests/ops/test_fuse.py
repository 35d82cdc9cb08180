"""Activations that become part of the product before them, against the same graph unfused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from executorch_ggml.ir.builder import Builder, DType, UnaryKind, Value
from executorch_ggml.ir.dump import dump
from executorch_ggml.ir.fuse import fuse_epilogues
from executorch_ggml.ir.graph import Activation, Epilogue
from executorch_ggml.ir.interpret import Interpreter

INF = float("inf")
Body = Callable[[Builder, Value, Value], "Value | tuple[Value, ...]"]


def graphs(body: Body) -> tuple[Builder, list[Any], list[Any]]:
    """(the fused builder, its results, the results unfused) of body(b, product [4, 6], x [4, 6])."""
    rng = np.random.default_rng(3)
    arrays = [rng.normal(size=(4, 5)), rng.normal(size=(6, 5)), rng.normal(size=6), rng.normal(size=(4, 6))]

    def build() -> Builder:
        b = Builder("fuse")
        x, w, bias, other = (b.add_input(f"x{i}", a.shape, DType.FLOAT32) for i, a in enumerate(arrays))
        results = body(b, b.mul_mat(w, x, bias), b.f32(other))
        for i, value in enumerate(results if isinstance(results, tuple) else (results,)):
            b.add_output(f"y{i}", value)
        return b

    plain, fused = build(), build()
    fuse_epilogues(fused.graph)
    payload = fused.serialize()
    want = Interpreter(plain.serialize(), {}).run(arrays)
    got = Interpreter(payload, {}).run(arrays)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12, err_msg=dump(payload))
    return fused, got, want


def epilogues(b: Builder) -> list[Any]:
    """The attribute ``then`` of the live products."""
    nodes = [b.graph.nodes[i] for i in b.graph.live()]
    return [n.attrs.get("then") for n in nodes if n.op in ("MulMat", "Conv2d")]


def operations(b: Builder) -> list[str]:
    return [b.graph.nodes[i].op for i in b.graph.live() if b.graph.nodes[i].op != "InputLeaf"]


@pytest.mark.parametrize(
    ("kind", "activation"),
    [
        (UnaryKind.GELU_ERF, Activation.GELU_ERF),
        (UnaryKind.GELU_TANH, Activation.GELU_TANH),
        (UnaryKind.SILU, Activation.SILU),
        (UnaryKind.SIGMOID, Activation.SIGMOID),
        (UnaryKind.HARD_SWISH, Activation.HARD_SWISH),
        (UnaryKind.HARD_SIGMOID, Activation.HARD_SIGMOID),
    ],
)
def test_every_activation(kind: UnaryKind, activation: Activation) -> None:
    b, _, _ = graphs(lambda b, y, _: b.unary(kind, y))
    assert epilogues(b) == [Epilogue(activation)]
    assert operations(b) == ["MulMat"]


def test_relu_and_clamp_are_bounds() -> None:
    b, _, _ = graphs(lambda b, y, _: b.unary(UnaryKind.RELU, y))
    assert epilogues(b) == [Epilogue(min=0.0, max=INF)]
    b, _, _ = graphs(lambda b, y, _: b.clamp(y, -0.5, 0.25))
    assert epilogues(b) == [Epilogue(min=-0.5, max=0.25)]


def test_an_activation_then_bounds_but_not_the_other_way() -> None:
    b, _, _ = graphs(lambda b, y, _: b.clamp(b.unary(UnaryKind.SILU, y), -0.1, 0.3))
    assert epilogues(b) == [Epilogue(Activation.SILU, -0.1, 0.3)]
    b, _, _ = graphs(lambda b, y, _: b.unary(UnaryKind.SILU, b.clamp(y, -0.1, 0.3)))
    assert epilogues(b) == [Epilogue(min=-0.1, max=0.3)]
    assert operations(b) == ["MulMat", "Unary"]


def test_the_text_of_a_payload_says_what_follows() -> None:
    b, _, _ = graphs(lambda b, y, _: b.clamp(b.unary(UnaryKind.GELU_TANH, y), -0.5, INF))
    assert "then=gelu_tanh then clamp -0.5..inf)" in dump(b.serialize())


def test_a_second_clamp_stays() -> None:
    b, _, _ = graphs(lambda b, y, _: b.clamp(b.clamp(y, -0.5, 0.0), 0.2, 0.4))
    assert operations(b) == ["MulMat", "Clamp"]


def test_through_reshapes() -> None:
    b, _, _ = graphs(lambda b, y, _: b.unary(UnaryKind.SILU, b.reshape(y, (2, 2, 3, 2))))
    assert epilogues(b) == [Epilogue(Activation.SILU)]
    assert operations(b) == ["MulMat", "Reshape"]


def test_a_product_that_is_read_twice_stays() -> None:
    b, _, _ = graphs(lambda b, y, _: b.mul(y, b.unary(UnaryKind.SIGMOID, y)))
    assert epilogues(b) == [None]
    b, _, _ = graphs(lambda b, y, _: (y, b.unary(UnaryKind.SIGMOID, y)))
    assert epilogues(b) == [None]


def test_results_that_are_fused_are_results_still() -> None:
    """An output moves to the product; two outputs of one value, and later readers, follow."""

    def body(b: Builder, y: Value, other: Value) -> tuple[Value, ...]:
        activated = b.unary(UnaryKind.SILU, y)
        return activated, b.add(activated, other), activated

    b, got, _ = graphs(body)
    assert epilogues(b) == [Epilogue(Activation.SILU)]
    np.testing.assert_array_equal(got[0], got[2])


def test_functions_that_no_epilogue_has_stay() -> None:
    b, _, _ = graphs(lambda b, y, _: b.unary(UnaryKind.TANH, y))
    assert epilogues(b) == [None]
    b, _, _ = graphs(lambda b, y, other: b.unary(UnaryKind.SILU, b.add(y, other)))
    assert operations(b) == ["MulMat", "Binary", "Unary"]
