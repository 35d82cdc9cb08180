"""to_edge_rewrite_and_lower: export's result to a lowered program in one call, run once if asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.export import ExportedProgram

from executorch_ggml.aot.lower import Programs, lower
from executorch_ggml.aot.quantization import GgmlQuantConfig

from .verify import Verification


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

    Like ``to_edge_transform_and_lower``, plus passes on whole exported programs. Operators that the partitioners
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
        transform_passes: as in ``to_edge_transform_and_lower``.
        constant_methods: as in ``to_edge_transform_and_lower``.
        compile_config: as in ``to_edge_transform_and_lower``. Without one, operators outside the core set are allowed
            where ggml runs them (``adaptive_max_pool2d``, ``median``).
        generate_etrecord: as in ``to_edge_transform_and_lower``.
        verify: run the result once and compare it with eager: True for the example inputs of the export, or a tuple of
            inputs, or a list of tuples, or these by method. Loads the native library, and needs the weights' data.

    Returns:
        ``executorch.exir.EdgeProgramManager``; its ``to_executorch().buffer`` is the ``.pte``.

    Raises:
        UnloadableError: the runtime could not load the result, or would refuse calls that the export promised. Reasons
            are a host operator without a kernel, and sizes that lost their range or have none. It lists each with its
            line.
        MismatchError: ``verify``, and a result differs from eager's; it names the first operation that differs.
        LoweringError: torch or ExecuTorch give up on the program.
        TypeError: a pass that is neither callable nor has ``run``, or that returns something else than a program.
        InvalidArgumentError: both a partitioner and ``quant`` or ``strict``; methods that do not agree on a state.
        UndelegatedError: ``strict``, and there is such an operator; the error names each with reason and source line.
    """
    methods = {"forward": programs} if isinstance(programs, ExportedProgram) else dict(programs)
    verification = Verification(methods, verify)
    edge = lower(
        methods,
        ep_passes=ep_passes,
        partitioner=partitioner,
        quant=quant,
        strict=strict,
        share_states=share_states,
        transform_passes=transform_passes,
        constant_methods=constant_methods,
        compile_config=compile_config,
        generate_etrecord=generate_etrecord,
    )
    verification.run(edge)
    return edge
