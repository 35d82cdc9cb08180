"""NodeView: one torch.fx node as a lowering sees it, with its inputs already turned into values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Node

from executorch_ggml.ir.builder import Builder, DType, IrError, Unsupported, Value
from executorch_ggml.ir.dims import Dim, Shape, shape_of, simplify, static, whole

from . import bounds

_DTYPES: dict[torch.dtype, DType] = {
    torch.uint8: DType.UINT8,
    torch.int8: DType.INT8,
    torch.int16: DType.INT16,
    torch.int32: DType.INT32,
    torch.int64: DType.INT64,
    torch.float16: DType.FLOAT16,
    torch.float32: DType.FLOAT32,
    torch.float64: DType.FLOAT64,
    torch.bool: DType.BOOL,
    torch.bfloat16: DType.BFLOAT16,
}


def overload_of(target: Any) -> Any:
    """The ATen overload behind an edge-dialect one; other targets unchanged."""
    # An ATen overload has an attribute of that name too: its compiled function.
    return target if isinstance(target, torch._ops.OpOverload) else getattr(target, "_op", target)


def base_name(node: Node) -> str:
    """The name of a node's operator without its overload ("aten::add"); empty for other nodes."""
    schema = getattr(overload_of(node.target), "_schema", None)
    return str(schema.name) if schema is not None else ""


def to_dtype(dtype: torch.dtype) -> DType:
    """Our number for a torch type; raises Unsupported for types nothing here computes with."""
    try:
        return _DTYPES[dtype]
    except KeyError:
        raise Unsupported(f"{dtype} is not supported") from None


def to_dim(value: Any) -> Dim:
    """An int or sympy expression from an int, SymInt or fx node that stands for one."""
    if isinstance(value, Node):
        value = value.meta["val"]
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value
    if isinstance(value, torch.SymInt):
        return simplify(whole(value.node.expr))
    raise Unsupported(f"{value!r} is not an integer")


def is_single(tensor: torch.Tensor) -> bool:
    """Whether a tensor has literally one element. (Comparing ``numel()`` would put a guard on dynamic sizes.)"""
    return all(isinstance(d, int) and d == 1 for d in tensor.shape)


def is_empty(value: object) -> bool:
    """Whether this is a tensor with a size that is literally 0."""
    return isinstance(value, torch.Tensor) and any(isinstance(d, int) and d == 0 for d in value.shape)


@dataclass(frozen=True)
class TensorMeta:
    """Shape and type of a result, as export recorded them."""

    shape: Shape
    dtype: DType

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.shape)


def meta_of(value: Any) -> TensorMeta:
    """Our view of a (fake) tensor; sparse, quantised and complex ones are Unsupported."""
    if not isinstance(value, torch.Tensor):
        raise Unsupported(f"{type(value).__name__} where a tensor was expected")
    if value.layout is not torch.strided:
        raise Unsupported(f"{value.layout} tensors")
    return TensorMeta(shape_of(to_dim(d) for d in value.shape), to_dtype(value.dtype))


class NodeView:
    """Arguments by schema name, defaults filled in.

    Attributes:
        node: the fx node.
        target: its ATen (or custom) overload.
        out: shape and type of the result; ``outs`` for several.
    """

    def __init__(
        self,
        node: Node,
        values: Mapping[Node, Any],
        constants: Callable[[Node], torch.Tensor | None] | None = None,
        read: Callable[[Value], Value] = lambda v: v,
    ) -> None:
        self.node = node
        self.target = overload_of(node.target)
        self._values = values
        self._constants = constants
        self._read = read
        schema = getattr(self.target, "_schema", None)
        if schema is None:
            raise Unsupported(f"{node.target} has no schema")
        self._args: dict[str, Any] = {}
        positional = list(node.args)
        for index, argument in enumerate(schema.arguments):
            if index < len(positional):
                self._args[argument.name] = positional[index]
            elif argument.name in node.kwargs:
                self._args[argument.name] = node.kwargs[argument.name]
            elif argument.has_default_value():
                self._args[argument.name] = argument.default_value
            else:
                self._args[argument.name] = None

    @property
    def name(self) -> str:
        """Name of the fx node."""
        return str(self.node.name)

    # ---------------------------------------------------------------- results

    @property
    def out(self) -> TensorMeta:
        """The (first) result."""
        return self.outs[0]

    @property
    def outs(self) -> tuple[TensorMeta, ...]:
        """All results."""
        val = self.node.meta.get("val")
        if isinstance(val, (tuple, list)):
            return tuple(meta_of(v) for v in val if v is not None)
        return (meta_of(val),)

    def used_outputs(self) -> set[int]:
        """Which results of a multi-output node something reads."""
        return {int(str(u.args[1])) for u in self.node.users if getattr(u.target, "__name__", "") == "getitem"}

    # ---------------------------------------------------------------- arguments

    def raw(self, name: str) -> Any:
        """The argument as fx holds it."""
        try:
            return self._args[name]
        except KeyError:
            raise IrError(f"{self.target} has no argument {name!r}") from None

    def has(self, name: str) -> bool:
        """Whether the argument is there and not None."""
        return self._args.get(name) is not None

    def takes(self, name: str) -> bool:
        """Whether the operator's schema has an argument of that name."""
        return name in self._args

    def tensor(self, name: str) -> Value:
        """A tensor argument."""
        return self._value(self.raw(name))

    def opt_tensor(self, name: str) -> Value | None:
        """A tensor argument, or None."""
        return self._value(self.raw(name)) if self.has(name) else None

    def tensors(self, name: str) -> list[Value]:
        """A list of tensors."""
        return [self._value(a) for a in self.raw(name)]

    def value_of(self, raw: Any) -> Value:
        """The value of an fx node found inside an argument (a list with gaps, say)."""
        return self._value(raw)

    def is_tensor(self, name: str) -> bool:
        """Whether the argument is a tensor (and not a Python number)."""
        raw = self.raw(name)
        return isinstance(raw, Node) and isinstance(raw.meta.get("val"), torch.Tensor)

    def meta(self, name: str) -> TensorMeta:
        """Shape and type of a tensor argument."""
        return meta_of(self.raw(name).meta["val"])

    def scalar(self, name: str) -> float | None:
        """The number in a Python scalar or in a constant tensor of one element; None when it is not known."""
        raw = self.raw(name)
        if isinstance(raw, (int, float)) and not isinstance(raw, bool):
            return float(raw)
        if not isinstance(raw, Node) or self._constants is None:
            return None
        val = raw.meta.get("val")
        if isinstance(val, torch.Tensor) and is_single(val):
            data = self._constants(raw)
            if data is not None:
                return float(data.item())
        return None

    def number(self, name: str) -> float:
        """A Python scalar as float; raises Unsupported for symbols and missing ones."""
        raw = self.raw(name)
        if isinstance(raw, (int, float)):
            return float(raw)
        raise Unsupported(f"{name} is not a constant number")

    def opt_number(self, name: str) -> float | None:
        """A Python scalar as float, or None."""
        return self.number(name) if self.has(name) else None

    def dim(self, name: str) -> Dim:
        """An integer that may be symbolic."""
        return to_dim(self.raw(name))

    def integer(self, name: str) -> int:
        """An integer known now; raises Unsupported for symbols."""
        return static(self.dim(name), name)

    def dims(self, name: str) -> Shape:
        """A list of integers that may be symbolic."""
        return tuple(to_dim(d) for d in self.raw(name))

    def integers(self, name: str, default: Sequence[int] = ()) -> list[int]:
        """A list of integers known now (``default`` when missing)."""
        return [static(to_dim(d), name) for d in self.raw(name)] if self.has(name) else list(default)

    def flag(self, name: str) -> bool:
        """A bool."""
        return bool(self.raw(name))

    def text(self, name: str) -> str:
        """A string; empty when missing."""
        return str(self.raw(name) or "")

    def _value(self, raw: Any) -> Value:
        if not isinstance(raw, Node):
            raise Unsupported(f"{raw!r} where a tensor was expected")
        value = self._values.get(raw)
        if not isinstance(value, Value):
            raise Unsupported(f"{raw.name} is not a tensor of this graph")
        return self._read(value)

    @property
    def bounds(self) -> tuple[int, int] | None:
        """Smallest and largest value that an integer result can have, if that is known."""
        return bounds.of_result(self.node)

    def require_exact(self) -> None:
        """Refuses results that are neither floats nor booleans nor integers that F32 is known to hold."""
        dtype = self.out.dtype
        if dtype.is_float or dtype is DType.BOOL:
            return
        if not dtype.is_integer or not bounds.is_exact(self.bounds):
            raise Unsupported(f"{dtype.name.lower()} arithmetic stays with ExecuTorch: values may exceed 2^24")

    def require_float(self, builder: Builder | None = None) -> None:
        """Refuses nodes with a result that is not a float tensor: their arithmetic stays with ExecuTorch."""
        if not self.out.dtype.is_float:
            raise Unsupported(f"{self.out.dtype.name.lower()} arithmetic stays with ExecuTorch")
