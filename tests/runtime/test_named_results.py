"""Results in the containers of the model, by name."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.export import export

from executorch_ggml import Program, to_edge_rewrite_and_lower
from executorch_ggml.runtime._structure import name_outputs, rebuilt

pytestmark = pytest.mark.filterwarnings("ignore")


class Form(torch.nn.Module):
    def __init__(self, fn: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: torch.Tensor) -> Any:
        return self.fn(x)


class Pair(NamedTuple):
    low: torch.Tensor
    high: torch.Tensor


CASES: dict[str, tuple[Callable[[torch.Tensor], Any], list[str]]] = {
    "dictionary": (lambda x: {"logits": x * 2, "hidden": x + 1}, ["logits", "hidden"]),
    "nested": (lambda x: {"a": (x * 2, {"b": x + 1}), "c": [x - 1]}, ["a.0", "a.1.b", "c.0"]),
    "ordered": (lambda x: OrderedDict(z=x * 2, y=x + 1), ["z", "y"]),
    "inside a tuple": (lambda x: (x * 2, {"b": x + 1}), ["output 0", "1.b"]),
    "tuple": (lambda x: (x * 2, x + 1), ["output 0", "output 1"]),
    "single": (lambda x: x * 2, ["output 0"]),
    "named tuple": (lambda x: Pair(x * 2, x + 1), ["low", "high"]),
    "of torch": (lambda x: torch.max(x, 0), ["values", "indices"]),
}


def plain(result: Any) -> Any:
    """Containers with names as dictionaries."""
    if isinstance(result, torch.return_types.max):
        return {"values": result.values, "indices": result.indices}
    if isinstance(result, Pair):
        return result._asdict()
    return dict(result) if isinstance(result, OrderedDict) else result


@pytest.mark.parametrize("name", CASES)
def test_as_the_model_has_them(name: str, tmp_path: Path) -> None:
    fn, names = CASES[name]
    x = torch.randn(3)
    path = tmp_path / "named.pte"
    path.write_bytes(to_edge_rewrite_and_lower(export(Form(fn), (x,))).to_executorch().buffer)
    with Program(path) as program:
        (method,) = program.info()["methods"]
        assert [o["name"] for o in method["outputs"]] == names
        assert "result_structure" not in method
        got, want = program.run_named(x), plain(fn(x))
        assert isinstance(program(x), list)
    got_leaves, got_spec = torch.utils._pytree.tree_flatten(got)
    want_leaves, want_spec = torch.utils._pytree.tree_flatten(want)
    assert got_spec == want_spec
    for g, w in zip(got_leaves, want_leaves, strict=True):
        torch.testing.assert_close(g, w)


LEAF = {"type": None, "context": None, "children_spec": []}
BAD = [
    None, "", "{", "[1]", "[2, {}]", "[1, {}]", "[1, 7]",
    json.dumps([1, {"type": "builtins.dict", "context": '["a"]', "children_spec": [LEAF, LEAF]}]),
    json.dumps([1, {"type": "builtins.tuple", "context": "null", "children_spec": [LEAF]}]),
    "[" * 100000,
]  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_another_structure_is_a_list(text: str | None) -> None:
    results = [np.zeros(1), np.ones(1)]
    assert rebuilt(text, results) == results
    outputs = [{"name": "output 0"}, {"name": "output 1"}]
    name_outputs(text, outputs)
    assert [o["name"] for o in outputs] == ["output 0", "output 1"]
