"""to_edge_rewrite_and_lower: export's result to a lowered program in one call, with passes of one's own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.export import ExportedProgram

from .errors import GgmlError, InvalidArgumentError, LoweringError, UnloadableError
from .method_states import agree_on_states
from .quantization import GgmlQuantConfig
from .registry import entries
from .torch_errors import described

if TYPE_CHECKING:
    from .lowered_program import LoweredProgram
    from .partitioner import GgmlPartitioner

# In the message about an operator that ExecuTorch refuses because not every backend has to know it.
_NOT_CORE = "is not in Core ATen opset"

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
    verify: bool | Sequence[Any] | Mapping[str, Any] = False,
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
        verify: run the result once and compare it with eager: True for the example inputs of the export, or a tuple of
            inputs, or a list of tuples, or these by method. Loads the native library, and needs the weights' data.

    Returns:
        ``executorch.exir.EdgeProgramManager``; its ``to_executorch().buffer`` is the ``.pte``.

    Raises:
        UnloadableError: the runtime could not load what was lowered, or would refuse calls that the export promised: a
            host operator without a kernel, sizes that lost their range or have none. It lists each with its line.
        MismatchError: ``verify``, and a result is not what eager computes; it names the first operation that differs.
        LoweringError: torch or ExecuTorch give up on the program.
        TypeError: a pass that is neither callable nor has ``run``, or that returns something else than a program.
        InvalidArgumentError: both a partitioner and ``quant`` or ``strict``; methods that do not agree on a state.
        UndelegatedError: ``strict``, and there is such an operator; the error names each with reason and source line.
    """
    from .partitioner import GgmlPartitioner
    from .verify import Verification

    for name, value in (("quant", quant is not None), ("strict", strict)):
        if value and partitioner is not None:
            raise InvalidArgumentError(f"give {name} to the partitioner: GgmlPartitioner({name}=...)")
    methods = {"forward": programs} if isinstance(programs, ExportedProgram) else dict(programs)
    verification = Verification(methods, verify)
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

    def lower() -> LoweredProgram:
        return _with_owners(methods, ours, lambda: _lower(methods, compile_config, arguments))

    try:
        edge = lower()
    except UnloadableError as e:
        # An operator was kept whole for ggml, and something else then kept it out of the delegates.
        operators = {f.op for f in e.findings if f.kind == "kernel"}
        try:
            if not sum(p.take_apart(operators) for p in ours):
                raise
            edge = lower()
        finally:
            for p in ours:
                p.taken_apart = frozenset()
    verification.run(edge)
    return edge


def _with_owners(
    methods: Mapping[str, ExportedProgram], ours: Sequence[GgmlPartitioner], lower: Callable[[], LoweredProgram]
) -> LoweredProgram:
    """Lowers until each state has one owner in all methods: ExecuTorch, where one method's delegates cannot own it."""
    from .lowered_program import torn_states

    before = [p.host_states for p in ours]
    try:
        result = lower()
        while len(methods) > 1 and ours and (torn := torn_states(result, methods)):
            for p in ours:
                p.host_states |= torn
            result = lower()
    finally:
        for p, states in zip(ours, before, strict=True):
            p.host_states = states
    return result


def _lower(methods: dict[str, ExportedProgram], compile_config: Any, arguments: dict[str, Any]) -> LoweredProgram:
    from executorch.exir import to_edge_transform_and_lower
    from torch._export.verifier import SpecViolationError

    from .lowered_program import lowered

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
        # Whether an operator is in the core set says little: what counts is a kernel, and that is checked at the end.
        return attempt(_config(_all_operators()))
    except (GgmlError, OSError, MemoryError):
        raise
    except Exception as e:  # torch's and ExecuTorch's passes raise whatever they trip over
        raise LoweringError(described(e)) from e


def _forget_unfinished(program: ExportedProgram) -> None:
    """Lets a program be lowered once more: sizes that depend on data and were being traced would be missed."""
    from torch._guards import detect_fake_mode

    mode = detect_fake_mode([n.meta.get("val") for n in program.graph.nodes])
    if mode is not None and mode.shape_env is not None:
        mode.shape_env.pending_fresh_unbacked_symbols.clear()


def _partitioners(given: Any) -> list[GgmlPartitioner]:
    from .partitioner import GgmlPartitioner

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
