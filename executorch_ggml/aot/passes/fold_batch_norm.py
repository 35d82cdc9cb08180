"""Batch normalisation folded into the convolution or linear layer before it.

In inference a batch norm is ``x * s + t`` per channel, s = gamma / sqrt(var + eps), t = beta - mean * s. Behind a layer
with weight W and bias b that nobody else reads, it is the layer with weight W * s and bias b * s + t. The folded values
are new parameters: the old ones may be tied to another layer and are never changed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from ._graph import GraphEditor, args_of, argument, aten, is_call, is_tensor, nodes_of, shape, value

_LAYERS = (
    aten.conv1d.default,
    aten.conv2d.default,
    aten.conv3d.default,
    aten.convolution.default,
    aten.linear.default,
)


def _norm_arguments(node: Node) -> tuple[Any, Any, Any, Any, Any, float] | None:
    """(input, gamma, beta, mean, variance, eps) of a batch norm with fixed statistics."""
    if is_call(node, aten.batch_norm.default):
        if argument(node, 5, "training", False):
            return None
        names = ("input", "weight", "bias", "running_mean", "running_var")
        x, gamma, beta, mean, variance = (argument(node, i, name) for i, name in enumerate(names))
        return x, gamma, beta, mean, variance, float(argument(node, 7, "eps"))
    if is_call(node, aten._native_batch_norm_legit_no_training.default):
        names = ("input", "weight", "bias", "running_mean", "running_var")
        x, gamma, beta, mean, variance = (argument(node, i, name) for i, name in enumerate(names))
        return x, gamma, beta, mean, variance, float(argument(node, 6, "eps"))
    return None


def _result_of(node: Node) -> Node | None:
    """The normalised tensor: the node itself, or the only one of its results that is read."""
    if is_tensor(node):
        return node
    picks = list(node.users)
    if len(picks) == 1 and picks[0].args[1] == 0:
        return picks[0]
    return None


def _fold(editor: GraphEditor, node: Node, prefix: str) -> bool:
    arguments = _norm_arguments(node)
    result = _result_of(node)
    if arguments is None or result is None:
        return False
    layer, gamma, beta, mean, variance, eps = arguments
    if not is_call(layer, *_LAYERS) or len(layer.users) != 1:
        return False
    if is_call(layer, aten.convolution.default) and args_of(layer)[6]:  # transposed: channels lie elsewhere
        return False
    if is_call(layer, aten.linear.default) and len(shape(layer)) != 2:
        return False  # a batch norm of [N, L, C] normalises L, not the features
    weight_node, bias_node = argument(layer, 1, "weight"), argument(layer, 2, "bias")
    weight, mu, var = (editor.constant(x) for x in (weight_node, mean, variance))
    if weight is None or mu is None or var is None:
        return False
    known: list[torch.Tensor] = []
    for optional, default in ((bias_node, 0.0), (gamma, 1.0), (beta, 0.0)):
        data = torch.full_like(mu, default) if optional is None else editor.constant(optional)
        if data is None:
            return False
        known.append(data)
    bias, g, t = (x.to(torch.float64) for x in known)
    s = g / torch.sqrt(var.to(torch.float64) + eps)
    if s.shape != (weight.shape[0],) or not bool(torch.isfinite(s).all()):
        return False
    new_weight = weight.to(torch.float64) * s.reshape(-1, *([1] * (weight.dim() - 1)))
    new_bias = (bias - mu.to(torch.float64)) * s + t
    assert isinstance(weight_node, Node)
    dtype = weight.dtype
    name = editor.target_of(weight_node)
    args = list(layer.args)
    args[1] = editor.add_parameter(new_weight.to(dtype), f"{prefix}{name}_folded")
    folded_bias = editor.add_parameter(new_bias.to(dtype), f"{prefix}{name}_folded_bias")
    kwargs = dict(layer.kwargs)
    if len(args) > 2:
        args[2] = folded_bias
    else:
        kwargs["bias"] = folded_bias
    assert callable(layer.target)
    folded = editor.call(layer, layer.target, *args, **kwargs)
    if value(folded).dtype != value(result).dtype:
        return False
    editor.replace(result, folded)
    return True


def fold_batch_norm(ep: ExportedProgram, prefix: str = "") -> bool:
    """Fold every batch norm that directly follows a convolution or linear layer, in place; True if there was one.

    Args:
        prefix: in front of the names of the new parameters (``<weight>_folded``, ``<weight>_folded_bias``).
    """
    editor = GraphEditor(ep)
    for node in nodes_of(editor.graph, aten.batch_norm.default, aten._native_batch_norm_legit_no_training.default):
        _fold(editor, node, prefix)
    return editor.finish()


class BatchNormFoldingRewritePass:
    """Folds batch norms into the layers before them.

        ep = BatchNormFoldingRewritePass()(torch.export.export(model.eval(), inputs))

    Works on a program as exported and on one in Core ATen. `GgmlPartitioner` does the same on its own.
    """

    def __init__(self, bias_buffer_prefix: str = "") -> None:
        """
        Args:
            bias_buffer_prefix: in front of the names of the new parameters.
        """
        self._prefix = bias_buffer_prefix

    def run(self, ep: ExportedProgram) -> ExportedProgram:
        """The program with batch norms folded; the argument is not changed.

        The result is functional if something was to be folded, else it is `ep` itself.
        """
        targets = (aten.batch_norm.default, aten._native_batch_norm_legit_no_training.default)
        if not nodes_of(ep.graph, *targets):
            return ep
        folded: ExportedProgram = ep.run_decompositions({})
        fold_batch_norm(folded, self._prefix)
        return folded

    def __call__(self, ep: ExportedProgram) -> ExportedProgram:
        """Same as `run`."""
        return self.run(ep)
