"""Proofs about dimensions: a chain of integer divisions is one division."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executorch_ggml.ir.dims import same

pytestmark = pytest.mark.quick


@given(
    steps=st.lists(st.tuples(st.integers(-4, 4), st.integers(1, 4)), min_size=1, max_size=4), size=st.integers(0, 500)
)
@settings(max_examples=60, deadline=None)
def test_chains(steps: list[tuple[int, int]], size: int) -> None:
    """((n + k) // d + k) // d ...: whatever is proved the same has the same value."""
    import sympy

    n = sympy.Symbol("n", integer=True, positive=True)
    chain, offset, divisor = n, 0, 1
    for add, by in steps:
        chain = sympy.floor((chain + add) / sympy.Integer(by))
        offset, divisor = offset + add * divisor, divisor * by
    assert same(chain, sympy.floor((n + offset) / sympy.Integer(divisor)))
    value = size
    for add, by in steps:
        value = (value + add) // by
    assert value == (size + offset) // divisor
    assert not same(chain, sympy.floor((n + offset + divisor) / sympy.Integer(divisor)))


def test_three_convolutions_of_stride_two() -> None:
    import sympy
    from torch.utils._sympy.functions import FloorDiv

    s = sympy.Symbol("s", integer=True, positive=True)
    nested = sympy.floor(sympy.floor(sympy.floor(s / 2 - sympy.Rational(1, 2)) / 2) / 2) + 1
    assert same(nested, FloorDiv(s - 1, 8) + 1)
    assert not same(nested, FloorDiv(s, 8) + 1)
