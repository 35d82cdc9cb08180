"""Places of numbers in rows: `searchsorted`, `bucketize`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from executorch_ggml.aot import bounds as found_bounds
from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Arg, Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import Builder, Value
from executorch_ggml.ir.dims import product, same_shape

from ._fp16 import as_stored

_aten = torch.ops.aten
_INF, _NAN = float("inf"), float("nan")
_EDGES = torch.tensor([-2.0, -0.5, -0.5, 0.0, 1.0, 2.5])
_STEPS = Arg((6,), torch.int8, -9, 9)


def _special(**how: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    def special(x: torch.Tensor) -> torch.Tensor:
        edges = torch.tensor([-_INF, -1.0, 0.0, 1e-45, 1.0, _INF, _NAN])
        numbers = torch.tensor([_NAN, _INF, -_INF, -0.0, 0.0, 1e-45, 1.0, 0.5, 3e38]) + x * 0.0
        mixed = torch.tensor([3.0, 1.0, _NAN, 2.0, 0.0])  # in no order: torch searches all the same
        return torch.cat([torch.searchsorted(edges, numbers, **how), torch.searchsorted(mixed, numbers, **how)])

    return special


def _cases() -> list[Case]:
    def rows(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.searchsorted(torch.sort(x, -1)[0], y)

    return [
        Case(lambda x: torch.searchsorted(_EDGES, x), [(3, 5)]),
        Case(lambda x: torch.searchsorted(_EDGES, torch.round(x * 2) / 2, right=True), [(2, 3, 4, 2)], name="right"),
        Case(lambda x: torch.searchsorted(_EDGES, torch.round(x * 2) / 2, side="left"), [(7,)], name="left"),
        Case(lambda x: torch.searchsorted(_EDGES, torch.round(x * 2) / 2, side="right"), [(7,)], name="side"),
        Case(lambda x: torch.searchsorted(_EDGES, x.t(), out_int32=True), [(3, 5)], name="int32, transposed"),
        Case(lambda x: torch.searchsorted(torch.sort(x)[0], 0.25), [(9,)], name="a number"),
        Case(lambda x: torch.searchsorted(torch.sort(x)[0], x[0]), [(9,)], name="a single number"),
        Case(rows, [(2, 3, 7), (2, 3, 5)], name="rows"),
        Case(rows, [(5, 3), (5, 4)], dynamic=[{0: ("n", 1, 9)}, {0: ("n", 1, 9)}], name="dynamic rows"),
        Case(lambda x: torch.searchsorted(_EDGES, x), [(5, 3)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
        Case(
            lambda x, y: torch.searchsorted(torch.cumsum(torch.abs(x), 0), y),
            [(5,), (4,)],
            dynamic=[{0: ("n", 1, 9)}, {}],
            name="dynamic row",
        ),
        Case(_special(), [(1,)], name="special values"),
        Case(_special(right=True), [(1,)], name="special values, right"),
        Case(lambda x: torch.searchsorted(torch.tensor([-3, 0, 4], dtype=torch.int8), x), [_STEPS], name="small ints"),
        Case(
            lambda x: torch.searchsorted(torch.tensor([-3, 0, 4]), x),
            [Arg((5,), torch.int64)],
            refused="may exceed 2^24",
            name="ints",
        ),
        Case(
            lambda x: torch.searchsorted(x, x, sorter=torch.argsort(x)), [(5,)], refused="an order apart", name="sorter"
        ),
        Case(lambda x: torch.searchsorted(x, x), [Arg((5,), torch.float64)], refused="float64", name="doubles"),
    ]


def _numbers(b: Builder, n: NodeView, name: str) -> Value:
    """An operand as F32. Integers must be exact there: two that are rounded to one number would be equal."""
    v = n.tensor(name)
    node = n.raw(name)
    if v.dtype.is_integer and not found_bounds.is_exact(found_bounds.of_input(n.node, node)):
        raise Unsupported(f"a search among {v.dtype.name.lower()} numbers: values may exceed 2^24")
    return as_stored(b, v)


def _search(b: Builder, n: NodeView, rows_name: str, right: bool) -> Value:
    if n.meta(rows_name).dtype.name == "FLOAT64" or (n.is_tensor("self") and n.meta("self").dtype.name == "FLOAT64"):
        raise Unsupported("float64 stays with ExecuTorch")
    rows = b.contiguous(_numbers(b, n, rows_name))
    if rows.rank == 0:
        raise Unsupported("a search in a single number")
    if n.is_tensor("self"):
        numbers = b.contiguous(_numbers(b, n, "self"))
    else:
        number = n.number("self")
        if n.meta(rows_name).dtype.is_float:  # torch makes it one of the row's type
            number = float(torch.tensor(number, dtype=torch.float64).to(n.raw(rows_name).meta["val"].dtype))
        if float(torch.tensor(number, dtype=torch.float64).float()) != number and number == number:
            raise Unsupported(f"{number} is not a float32")
        numbers = b.fill(number, ())
    if rows.rank == 1:
        wide = b.search(rows, b.reshape(numbers, (product(numbers.shape),)), right)
    else:
        if not same_shape(rows.shape[:-1], numbers.shape[:-1]):
            raise Unsupported(f"cannot prove that rows {list(rows.shape)} and numbers {list(numbers.shape)} fit")
        lead = product(rows.shape[:-1])
        wide = b.search(b.reshape(rows, (lead, rows.shape[-1])), b.reshape(numbers, (lead, numbers.shape[-1])), right)
    return b.reshape(wide, n.out.shape).with_dtype(n.out.dtype)


@register(
    _aten.searchsorted.Tensor,
    _aten.searchsorted.Scalar,
    bounds=bounds.searched(0),
    keep=True,
    cpu_only=True,
    cases=_cases,
)
def searchsorted(b: Builder, n: NodeView) -> Value:
    """How many elements of its sorted row stand before each number; `right`: equal ones do. On the CPU alone."""
    if n.has("sorter"):
        raise Unsupported("rows with an order apart (sorter)")
    return _search(b, n, "sorted_sequence", n.flag("right") or n.text("side") == "right")


@register(
    _aten.bucketize.Tensor,
    _aten.bucketize.Scalar,
    bounds=bounds.searched(1),
    keep=True,
    cpu_only=True,
    cases=lambda: [
        Case(lambda x: torch.bucketize(x, _EDGES), [(3, 5)]),
        Case(lambda x: torch.bucketize(torch.round(x * 2) / 2, _EDGES, right=True), [(2, 3, 4, 2)], name="right"),
        Case(lambda x: torch.bucketize(x.t(), _EDGES, out_int32=True), [(3, 5)], name="int32, transposed"),
        Case(lambda x: torch.bucketize(x, _EDGES), [(5, 3)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
        Case(lambda x, w: w[torch.bucketize(x, _EDGES)], [(3, 5), (7, 4)], name="rows of a table"),
        Case(lambda x: torch.bucketize(x, x), [Arg((5,), torch.float64)], refused="float64", name="doubles"),
    ],
)
def bucketize(b: Builder, n: NodeView) -> Value:
    """The interval between boundaries that each number lies in."""
    return _search(b, n, "boundaries", n.flag("right"))
