"""No operator of ATen's core set ends in a traceback: it is lowered, or the reason says which operator, where and why.

Each overload is called with arguments that its schema suggests. What torch itself refuses is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch.export import export

from executorch_ggml.analysis.explain import explain
from executorch_ggml.aot.lower import lower
from executorch_ggml.errors import GgmlError

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.nightly]

SHARDS = 6

FLOATS = torch.linspace(0.1, 0.9, 24).reshape(2, 3, 4)
SQUARE = torch.linspace(0.1, 0.9, 16).reshape(4, 4)
IMAGE = torch.linspace(0.1, 0.9, 48).reshape(1, 2, 4, 6)
VOLUME = torch.linspace(0.1, 0.9, 96).reshape(1, 2, 4, 4, 3)
INDEX = torch.tensor([0, 1, 1])
PLACES = torch.zeros(2, 3, 4, dtype=torch.int64)

# Where a schema does not say what its arguments are like.
GIVEN: dict[str, Sequence[Any]] = {
    "_adaptive_avg_pool2d": (IMAGE, [2, 3]),
    "_adaptive_avg_pool3d": (VOLUME, [2, 2, 1]),
    "adaptive_avg_pool1d": (IMAGE[0], 3),
    "_cdist_forward": (FLOATS, FLOATS, 2.0, None),
    "_embedding_bag": (SQUARE, INDEX, torch.tensor([0, 2])),
    "_fft_c2r": (torch.complex(FLOATS, FLOATS), [2], 0, 6),
    "_local_scalar_dense": (torch.tensor(3),),
    "_log_softmax": (FLOATS, 1, False),
    "_softmax": (FLOATS, 1, False),
    "_native_batch_norm_legit": (IMAGE, None, None, torch.zeros(2), torch.ones(2), True, 0.1, 1e-5),
    "_native_batch_norm_legit.no_stats": (IMAGE, None, None, True, 0.1, 1e-5),
    "_native_batch_norm_legit_no_training": (IMAGE, None, None, torch.zeros(2), torch.ones(2), 0.1, 1e-5),
    "_pdist_forward": (SQUARE, 2.0),
    "_to_copy": (FLOATS,),
    "addmm": (SQUARE, SQUARE, SQUARE),
    "avg_pool1d": (IMAGE[0], [2]),
    "avg_pool2d": (IMAGE, [2, 2]),
    "avg_pool2d_backward": (IMAGE[..., ::2, ::2], IMAGE, [2, 2], [2, 2], [0, 0], False, True, None),
    "avg_pool3d": (VOLUME, [2, 2, 2]),
    "as_strided": (FLOATS, [2, 2], [1, 2]),
    "cat": ([FLOATS, FLOATS], 1),
    "bmm": (FLOATS, FLOATS.transpose(1, 2)),
    "col2im": (IMAGE.reshape(1, 8, 6), [3, 4], [2, 2], [1, 1], [0, 0], [1, 1]),
    "constant_pad_nd": (FLOATS, [1, 2]),
    "convolution": (IMAGE, torch.ones(3, 2, 2, 2), None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1),
    "convolution_backward": (
        torch.ones(1, 3, 3, 5), IMAGE, torch.ones(3, 2, 2, 2), [3], [1, 1], [0, 0], [1, 1], False, [0, 0], 1,
        [True, True, True],
    ),
    "diagonal": (SQUARE,),
    "embedding": (SQUARE, INDEX),
    "embedding_dense_backward": (torch.ones(3, 4), INDEX, 4, -1, False),
    "expand": (FLOATS[:1], [5, 3, 4]),
    "full": ([2, 3], 1.5),
    "empty_strided": ([2, 3], [3, 1]),
    "gather": (FLOATS, 1, PLACES),
    "grid_sampler_2d": (IMAGE, torch.zeros(1, 2, 3, 2), 0, 0, False),
    "index.Tensor": (FLOATS, [torch.tensor([0, 1])]),
    "index_put": (FLOATS, [torch.tensor([0])], FLOATS[:1]),
    "index_select": (FLOATS, 1, INDEX),
    "masked_scatter": (FLOATS, FLOATS > 0.5, FLOATS),
    "max_pool2d_with_indices": (IMAGE, [2, 2]),
    "max_pool2d_with_indices_backward": (
        IMAGE[..., ::2, ::2], IMAGE, [2, 2], [2, 2], [0, 0], [1, 1], False, torch.zeros(1, 2, 2, 3, dtype=torch.int64),
    ),
    "max_pool3d_with_indices": (VOLUME, [2, 2, 2]),
    "mm": (SQUARE, SQUARE),
    "native_group_norm": (IMAGE, None, None, 1, 2, 24, 1, 1e-5),
    "native_layer_norm": (FLOATS, [4], None, None, 1e-5),
    "permute": (FLOATS, [2, 0, 1]),
    "reflection_pad1d": (FLOATS, [1, 1]),
    "reflection_pad2d": (IMAGE, [1, 1, 1, 1]),
    "reflection_pad3d": (VOLUME, [1] * 6),
    "replication_pad2d": (IMAGE, [1, 1, 1, 1]),
    "replication_pad3d": (VOLUME, [1] * 6),
    "repeat": (FLOATS, [1, 2, 1]),
    "resize_": (FLOATS, [2, 3, 4]),
    "scatter.src": (FLOATS, 1, PLACES, FLOATS),
    "scatter.value": (FLOATS, 1, PLACES, 0.5),
    "scatter_add": (FLOATS, 1, PLACES, FLOATS),
    "scatter_reduce.two": (FLOATS, 1, PLACES, FLOATS, "sum"),
    "select_scatter": (FLOATS, FLOATS[:, 0], 1, 0),
    "slice_scatter": (FLOATS, FLOATS[:, :2], 1, 0, 2),
    "split_with_sizes": (FLOATS, [1, 2], 1),
    "squeeze.dims": (FLOATS[:1], [0]),
    "upsample_bilinear2d.vec": (IMAGE, [7, 9], False, None),
    "upsample_nearest2d.vec": (IMAGE, [7, 9], None),
    "view": (FLOATS, [4, 6]),
    "where.self": (FLOATS > 0.5, FLOATS, -FLOATS),
    "randperm": (5,),
    "arange.start_step": (0, 5, 1),
}  # fmt: skip


def name_of(op: Any) -> str:
    return str(op._schema.name).removeprefix("aten::") + (
        f".{op._schema.overload_name}" if op._schema.overload_name else ""
    )


def operators() -> Iterator[Any]:
    for schema in sorted(torch._C._jit_get_all_schemas(), key=str):
        if schema.name.startswith("aten::"):
            packet = getattr(torch.ops.aten, schema.name.removeprefix("aten::"), None)
            op = getattr(packet, schema.overload_name or "default", None)
            if isinstance(op, torch._ops.OpOverload) and torch.Tag.core in op.tags:
                yield op


def plain(argument: Any) -> Any:
    """A value of the type that the schema states."""
    kind = str(argument.type)
    if kind.startswith("Optional"):
        return None
    found: dict[str, Any] = {
        "Tensor": FLOATS, "int": 1, "SymInt": 1, "number": 0.5, "float": 0.5, "bool": False, "List[int]": [1],
        "List[SymInt]": [1], "List[Tensor]": [FLOATS, FLOATS], "str": "none", "ScalarType": torch.float32,
    }  # fmt: skip
    return found[kind]


def candidates(op: Any) -> Iterator[tuple[Sequence[Any], dict[str, Any]]]:
    given = GIVEN.get(name_of(op), GIVEN.get(name_of(op).partition(".")[0]))
    if given is not None:
        yield given, {}
        return
    required = [a for a in op._schema.arguments if not a.has_default_value()]
    try:
        args = [plain(a) for a in required if not a.kwarg_only]
        kwargs = {a.name: plain(a) for a in required if a.kwarg_only}
    except KeyError:
        return
    yield args, kwargs
    integers = [PLACES if a is FLOATS else 1 if a == 0.5 and isinstance(a, float) else a for a in args]
    yield integers, kwargs
    yield [a > 0.5 if a is FLOATS else a for a in args], kwargs


class Call(torch.nn.Module):
    """The operator after a product, its tensors arguments of the program."""

    def __init__(self, op: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        super().__init__()
        self.op, self.args, self.kwargs = op, args, kwargs

    def tensors(self) -> tuple[torch.Tensor, ...]:
        return tuple(a for a in torch.utils._pytree.tree_leaves(list(self.args)) if isinstance(a, torch.Tensor)) or (
            FLOATS,
        )

    def forward(self, *given: torch.Tensor) -> Any:
        left = iter([g * 2 if g.dtype is torch.float32 else g for g in given])
        args = torch.utils._pytree.tree_map(lambda a: next(left) if isinstance(a, torch.Tensor) else a, list(self.args))
        result = self.op(*args, **self.kwargs)
        parts = result if isinstance(result, (tuple, list)) else (result,)
        return tuple(p for p in parts if isinstance(p, torch.Tensor)) + (given[0] + 1,)


def program_of(op: Any) -> tuple[Any, str]:
    """A program that calls it; or why there is none."""
    why = "no arguments for its types"
    for args, kwargs in candidates(op):
        module = Call(op, args, kwargs)
        try:
            return export(module, module.tensors()), ""
        except Exception as e:  # torch raises errors of any type
            why = f"{type(e).__name__}: {str(e).strip().splitlines()[0][:100] if str(e).strip() else ''}"
    return None, why


def fate(op: Any) -> str:
    """What becomes of an operator: "lowered" or the type of the error. Raises anything that is no GgmlError."""
    ep, why = program_of(op)
    if ep is None:
        return f"not exported: {why}"
    report = explain(ep)
    for node in report.nodes:
        assert node.delegated or node.reason, node
    str(report)
    try:
        lower({"forward": ep}).to_executorch()
    except GgmlError as e:
        text = str(e)
        named = str(op._schema.name).removeprefix("aten::") in text or any(n.name in text for n in report.nodes)
        assert named or report.failure, f"the error names no operator: {text}"
        return f"{type(e).__name__}: {text}"
    return "lowered"


@pytest.mark.parametrize("shard", range(SHARDS))
def test_no_traceback(shard: int) -> None:
    found = list(operators())
    assert len(found) > 150
    size = math.ceil(len(found) / SHARDS)
    bad, tried = {}, 0
    for op in found[shard * size : (shard + 1) * size]:
        try:
            tried += not fate(op).startswith("not exported")
        except Exception as e:  # the very thing that must not happen
            bad[name_of(op)] = f"{type(e).__name__}: {e}"
    assert not bad, "\n".join(f"{k}: {v}" for k, v in bad.items())
    assert tried > 0.8 * min(size, len(found) - shard * size)


if __name__ == "__main__":
    for op in operators():
        try:
            text = fate(op)
        except Exception as e:
            text = f"TRACEBACK {type(e).__name__}: {e}"
        print(f"{name_of(op):45s} {' '.join(text.split())[:250]}", flush=True)
