"""to_edge_rewrite_and_lower: export's result to a lowered program in one call, with passes of one's own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.export import ExportedProgram

from .errors import InvalidArgumentError
from .method_states import agree_on_states
from .quantization import GgmlQuantConfig
from .registry import entries

if TYPE_CHECKING:
    from .lowered_program import LoweredProgram
    from .partitioner import GgmlPartitioner

Programs = ExportedProgram | Mapping[str, ExportedProgram]


def to_edge_rewrite_and_lower(
    programs: Programs,
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
) -> Any:
    """Lowers exported programs to ggml.

    Like ``to_edge_transform_and_lower``, plus passes over whole exported programs. Operators that the partitioners
    want whole (``ops_to_not_decompose``) stay whole.

    Args:
        programs: one exported program, or several by method name.
        ep_passes: run in order on each ATen program (or per method) before everything else. Each has ``run(ep)`` or is
            callable and returns the program to go on with (``BatchNormFoldingRewritePass`` is one); None means that it
            changed the program it was given.
        partitioner: a partitioner, a list, or lists by method; ``GgmlPartitioner(quant=quant, strict=strict)`` if
            missing.
        quant: how embedded weights are quantised. A partitioner of your own takes it itself.
        strict: refuse a program of which an operator that costs time would stay with ExecuTorch. A partitioner of your
            own takes it itself.
        share_states: of methods that change buffers of one name which are different tensors: True makes them one state,
            False one for each method. Buffers that are one tensor are one state whatever their names.
        transform_passes, constant_methods, compile_config, generate_etrecord: as in ``to_edge_transform_and_lower``.
            Without a ``compile_config``, operators outside the core set are allowed where ggml runs them
            (``adaptive_max_pool2d``, ``median``).

    Returns:
        ``executorch.exir.EdgeProgramManager``; its ``to_executorch().buffer`` is the ``.pte``.

    Raises:
        TypeError: a pass that is neither callable nor has ``run``, or that returns something else than a program.
        InvalidArgumentError: both a partitioner and ``quant`` or ``strict``; methods that do not agree on a state.
        UndelegatedError: ``strict``, and there is such an operator; the error names each with reason and source line.
    """
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

    from .lowered_program import lowered, torn_states
    from .partitioner import GgmlPartitioner

    for name, value in (("quant", quant is not None), ("strict", strict)):
        if value and partitioner is not None:
            raise InvalidArgumentError(f"give {name} to the partitioner: GgmlPartitioner({name}=...)")
    methods = {"forward": programs} if isinstance(programs, ExportedProgram) else dict(programs)
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
    if compile_config is None:
        compile_config = EdgeCompileConfig(_core_aten_ops_exception_list=_beyond_core())

    def lower() -> LoweredProgram:
        return lowered(
            to_edge_transform_and_lower(
                dict(methods),
                transform_passes=transform_passes,
                partitioner=partitioner,
                constant_methods=dict(constant_methods) if constant_methods else None,
                compile_config=copy.deepcopy(compile_config),
                generate_etrecord=generate_etrecord,
            )
        )

    result = lower()
    # A state has one owner in all methods: ExecuTorch, where the delegates of one method cannot own it.
    ours = _partitioners(partitioner)
    before = [p.host_states for p in ours]
    try:
        while len(methods) > 1 and ours and (torn := torn_states(result, methods)):
            for p in ours:
                p.host_states |= torn
            result = lower()
    finally:
        for p, states in zip(ours, before, strict=True):
            p.host_states = states
    return result


def _partitioners(given: Any) -> list[GgmlPartitioner]:
    from .partitioner import GgmlPartitioner

    lists = given.values() if isinstance(given, Mapping) else [given]
    flat = [p for entry in lists for p in (entry if isinstance(entry, (list, tuple)) else [entry])]
    return [p for p in flat if isinstance(p, GgmlPartitioner)]


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
