"""Lowers exported programs: passes of one's own, states agreed between methods, then ExecuTorch's lowering."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.export import ExportedProgram

from executorch_ggml.errors import GgmlError, InvalidArgumentError, LoweringError, UnloadableError

from .lowered_program import LoweredProgram, differing_states, lowered, torn_states
from .method_states import agree_on_states
from .partitioner import GgmlPartitioner
from .quantization import GgmlQuantConfig
from .registry import entries
from .torch_errors import described

# In the message about an operator that ExecuTorch refuses because not every backend has to know it.
_NOT_CORE = "is not in Core ATen opset"

Programs = ExportedProgram | Mapping[str, ExportedProgram]


def lower(
    programs: Mapping[str, ExportedProgram],
    *,
    ep_passes: Sequence[Any] | Mapping[str, Sequence[Any]] | None = None,
    partitioner: Any = None,
    quant: GgmlQuantConfig | None = None,
    strict: bool = False,
    share_states: bool | None = None,
    transform_passes: Any = None,
    constant_methods: Mapping[str, Any] | None = None,
    compile_config: Any = None,
    generate_etrecord: bool = False,
) -> LoweredProgram:
    """Lowers exported programs by method name; the arguments are those of ``to_edge_rewrite_and_lower``."""
    for name, value in (("quant", quant is not None), ("strict", strict)):
        if value and partitioner is not None:
            raise InvalidArgumentError(f"give {name} to the partitioner: GgmlPartitioner({name}=...)")
    methods = dict(programs)
    for name, program in methods.items():
        for step in _for_method(ep_passes, name):
            program = _run(step, program)
        methods[name] = program
    methods = agree_on_states(methods, share_states)
    if partitioner is None:
        partitioner = [GgmlPartitioner(quant=quant, strict=strict)]
    elif not isinstance(partitioner, (list, tuple, Mapping)):
        partitioner = [partitioner]
    elif isinstance(partitioner, tuple):
        partitioner = list(partitioner)
    arguments = {
        "transform_passes": transform_passes,
        "partitioner": partitioner,
        "constant_methods": dict(constant_methods) if constant_methods else None,
        "generate_etrecord": generate_etrecord,
    }
    ours = _partitioners(partitioner)

    def attempt() -> LoweredProgram:
        return _with_owners(methods, ours, lambda: _lowered(methods, compile_config, arguments))

    try:
        edge = attempt()
    except UnloadableError as e:
        # An operator was kept whole for ggml, and something else then kept it out of the delegates.
        operators = {f.op for f in e.findings if f.kind == "kernel"}
        try:
            if not sum(p.take_apart(operators) for p in ours):
                raise
            edge = attempt()
        finally:
            for p in ours:
                p.taken_apart = frozenset()
    return edge


def _with_owners(
    methods: Mapping[str, ExportedProgram], ours: Sequence[GgmlPartitioner], lower: Callable[[], LoweredProgram]
) -> LoweredProgram:
    """Lowers until each state has one owner and one kind in all methods.

    Where one method's delegates cannot own it, ExecuTorch does. Where one method reads it otherwise than attention
    does, it is no KV cache.
    """
    before = [(p.host_states, p.options) for p in ours]
    try:
        result = lower()
        while len(methods) > 1 and ours:
            torn, plain = torn_states(result, methods), differing_states(result)
            if not torn and not plain:
                break
            for p in ours:
                p.host_states |= torn
                p.options = replace(p.options, plain_states=p.options.plain_states | plain)
            result = lower()
    finally:
        for p, (states, options) in zip(ours, before, strict=True):
            p.host_states, p.options = states, options
    return result


def _lowered(methods: dict[str, ExportedProgram], compile_config: Any, arguments: dict[str, Any]) -> LoweredProgram:
    from executorch.exir import to_edge_transform_and_lower
    from torch._export.verifier import SpecViolationError

    def attempt(config: Any) -> LoweredProgram:
        for program in methods.values():
            _forget_unfinished(program)
        return lowered(to_edge_transform_and_lower(dict(methods), compile_config=copy.deepcopy(config), **arguments))

    try:
        if compile_config is not None:
            return attempt(compile_config)
        try:
            return attempt(_config(_beyond_core()))
        except SpecViolationError as e:
            if _NOT_CORE not in str(e):
                raise
        # Whether an operator is in the core set says little. It needs a kernel, and that is checked at the end.
        return attempt(_config(_all_operators()))
    except (GgmlError, OSError, MemoryError):
        raise
    except Exception as e:  # torch's and ExecuTorch's passes raise errors of any type
        raise LoweringError(described(e)) from e


def _forget_unfinished(program: ExportedProgram) -> None:
    """Lets a program be lowered once more: sizes that depend on data and were being traced would be missed."""
    from torch._guards import detect_fake_mode

    mode = detect_fake_mode([n.meta.get("val") for n in program.graph.nodes])
    if mode is not None and mode.shape_env is not None:
        mode.shape_env.pending_fresh_unbacked_symbols.clear()


def _partitioners(given: Any) -> list[GgmlPartitioner]:
    lists = given.values() if isinstance(given, Mapping) else [given]
    flat = [p for entry in lists for p in (entry if isinstance(entry, (list, tuple)) else [entry])]
    return [p for p in flat if isinstance(p, GgmlPartitioner)]


def _config(allowed: list[Any]) -> Any:
    from executorch.exir import EdgeCompileConfig

    return EdgeCompileConfig(_core_aten_ops_exception_list=allowed)


def _all_operators() -> list[Any]:
    found = []
    for schema in torch._C._jit_get_all_schemas():
        if schema.name.startswith("aten::"):
            packet = getattr(torch.ops.aten, schema.name.removeprefix("aten::"), None)
            overload = getattr(packet, schema.overload_name or "default", None)
            if isinstance(overload, torch._ops.OpOverload):
                found.append(overload)
    return found


def _beyond_core() -> list[Any]:
    """Operators of ours that the exporter refuses by default, because not every backend has to know them."""
    targets = [entry.target for entry in entries() if isinstance(entry.target, torch._ops.OpOverload)]
    return [t for t in targets if t.namespace == "aten" and torch.Tag.core not in t.tags]


def _for_method(passes: Sequence[Any] | Mapping[str, Sequence[Any]] | None, name: str) -> Sequence[Any]:
    if passes is None:
        return ()
    return passes.get(name, ()) if isinstance(passes, Mapping) else passes


def _run(step: Any, program: ExportedProgram) -> ExportedProgram:
    run: Callable[[ExportedProgram], Any] | None = getattr(step, "run", None)
    if run is None:
        if not callable(step):
            raise TypeError(f"{step!r} is no pass: it has no run() and cannot be called")
        run = step
    result = run(program)
    # torch's own passes return PassResult-like pairs for graph modules only; a program comes back as itself.
    if result is None:
        return program
    if not isinstance(result, ExportedProgram):
        raise TypeError(f"{type(step).__name__} returned {type(result).__name__}, not an ExportedProgram")
    return result
