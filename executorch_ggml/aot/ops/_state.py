"""Writes into mutable buffers. Registers no operator.

The exported graph is functional: a write is an operator that returns all of the new contents. If the old contents
belong to a state of the delegate, the rows are written in place. The builder first copies all that later readers of
the old contents need. Other updates (``add_``, ``mul_``, ``copy_``) are ordinary computations, and their result is
copied into the state at the end.
"""

from __future__ import annotations

import torch

from executorch_ggml.aot.registry import Arg, Builder, Case, Unsupported, Value
from executorch_ggml.ir.dims import Dim, Shape, product, same, same_shape


def write_rows(b: Builder, state: Value, dim: int, index: Value, source: Value) -> Value:
    """state with ``state[..., index[i], ...] = source[..., i, ...]`` along one dimension; source has full rank."""
    if state.state < 0:
        raise Unsupported("rows are written in place, into a mutable buffer that the delegate owns")
    if state.rank == 0 or index.rank != 1:
        raise Unsupported(f"an index of rank {index.rank} into a buffer of rank {state.rank}")
    order = _order_in_memory(b, state)
    if order is not None:  # a KV cache that the model declares in another order of dimensions
        whole = b.permute(state, order)
        written = write_rows(b, whole, order.index(dim), index, b.permute(_whole(b, state, dim, index, source), order))
        return b.permute(written, [order.index(d) for d in range(state.rank)])
    rows: Dim = index.shape[0]
    lead, tail = product(state.shape[:dim]), product(state.shape[dim + 1 :])
    source = _whole(b, state, dim, index, source)
    # Rows of one length, in as many groups as lie before the dimension: ggml shares the row numbers among groups.
    groups: Shape = () if same(lead, 1) else (lead,)
    target = b.reshape(state, (*groups, state.shape[dim], tail))
    written = b.set_rows(target, b.reshape(b.f32(source), (*groups, rows, tail)), index)
    return b.reshape(written, state.shape)


def _order_in_memory(b: Builder, state: Value) -> list[int] | None:
    """The dimensions of a KV cache in the order of its memory, if it is read in another one."""
    node = b.graph.nodes[state.node]
    if node.op != "Permute" or not b.is_kv_cache(state):
        return None
    last = state.rank - 1
    return [last - node.attrs["axes"][last - d] for d in range(state.rank)]


def _whole(b: Builder, state: Value, dim: int, index: Value, source: Value) -> Value:
    """The rows to be written, in full."""
    expected = (*state.shape[:dim], index.shape[0], *state.shape[dim + 1 :])
    return source if same_shape(source.shape, expected) else b.expand(source, expected)


class _Buffer(torch.nn.Module):
    """A module with one state that is written and read in the ways of real models."""

    state: torch.Tensor

    def __init__(self, how: str, start: float) -> None:
        super().__init__()
        self.how = how
        self.register_buffer("state", torch.full((2, 6, 4), start))

    def forward(self, x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        old = self.state * 2.0
        if self.how == "index_copy":
            self.state.index_copy_(1, index, x)
        elif self.how == "index_put":
            self.state[:, index] = x
        elif self.how == "add":
            self.state.add_(x.sum())
        elif self.how == "copy":
            self.state.copy_(self.state * 0.5 + x.mean())
        return old + self.state


def buffer_cases() -> list[Case]:
    """Updates of a state that the module reads before and after."""
    index = Arg((3,), torch.int64, 0, 5)
    return [
        Case(_Buffer(how, start), [(2, 3, 4), index], name=f"{how}_{start:g}")
        for how in ("index_copy", "index_put", "add", "copy")
        for start in (0.0, 1.5)
    ]
