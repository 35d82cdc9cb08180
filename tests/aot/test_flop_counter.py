"""FLOPs of products and convolutions: ours are those of torch's own counter, where it has a rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import flop_registry

from executorch_ggml.aot.flops import count

CASES: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "mm": (torch.mm, ((3, 5), (5, 7))),
    "addmm": (torch.addmm, ((7,), (3, 5), (5, 7))),
    "bmm": (torch.bmm, ((2, 3, 5), (2, 5, 7))),
    "linear": (nn.Linear(5, 7), ((2, 3, 5),)),
    "conv1d": (nn.Conv1d(4, 6, 3, padding=1), ((2, 4, 9),)),
    "conv2d": (nn.Conv2d(4, 6, (3, 2), stride=2), ((2, 4, 9, 8),)),
    "groups": (nn.Conv2d(4, 8, 3, groups=2), ((1, 4, 9, 8),)),
    "depthwise": (nn.Conv2d(4, 4, 3, groups=4, dilation=2), ((1, 4, 9, 8),)),
    "conv3d": (nn.Conv3d(2, 3, 2), ((1, 2, 4, 5, 6),)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, stride=2), ((2, 4, 5, 6),)),
    "transposed in groups": (nn.ConvTranspose1d(4, 6, 3, groups=2), ((2, 4, 5),)),
}


class Called(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: torch.Tensor) -> Any:
        return self.function(*args)


@pytest.mark.parametrize("name", CASES)
def test_same_as_torchs_counter(name: str) -> None:
    function, shapes = CASES[name]
    args = tuple(torch.randn(shape) for shape in shapes)
    program = torch.export.export(Called(function).eval(), args).run_decompositions()
    ours, theirs = {}, {}
    for node in program.graph.nodes:
        rule = flop_registry.get(getattr(node.target, "overloadpacket", None))
        if rule is not None:
            values, named = torch.fx.node.map_arg((node.args, node.kwargs), lambda n: n.meta["val"])
            ours[node.name], theirs[node.name] = count(node), rule(*values, **named, out_val=node.meta["val"])
    assert len(theirs) == 1
    assert ours == theirs
