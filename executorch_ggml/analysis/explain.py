"""explain(): which nodes ggml will run, which not and why, and the traffic between the two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.export import ExportedProgram

from executorch_ggml.aot.dry_run import dry_run
from executorch_ggml.aot.explanation import Explanation, describe
from executorch_ggml.aot.lower import lower
from executorch_ggml.aot.partitioner import GgmlPartitioner
from executorch_ggml.aot.program_view import ProgramView, WeightOptions
from executorch_ggml.aot.trace import traced
from executorch_ggml.errors import LoweringError, UnloadableError

from .on_device import example_inputs, try_on_device


def explain(
    model: ExportedProgram | torch.nn.Module,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    dynamic_shapes: Any = None,
    partitioner: Any = None,
    strict: bool = False,
    device: str | None = None,
) -> Explanation:
    """Lowers a model (nothing is kept) and reports the fate of each operator.

    Args:
        model: an exported ATen program, or a module together with example ``args`` (and ``kwargs``).
        dynamic_shapes: for a module, as in ``torch.export.export``.
        partitioner: a ``GgmlPartitioner`` with the options of the real export.
        strict: refuse a model of which something hot is not delegated.
        device: run it once there, on its example inputs, and report the nodes that this device cannot run.

    Raises:
        DeviceError: there is no such device.
        TypeError: a module without example inputs.
        InvalidArgumentError: a module that torch.export refuses.
        UndelegatedError: ``strict``, and there are hot nodes; it names them.
    """
    if isinstance(model, ExportedProgram):
        program = model
    elif args is None:
        raise TypeError("explain(module) needs example inputs")
    else:
        program = traced(model, args, kwargs or {}, dynamic_shapes, type(model).__name__)
    recorder = recording(partitioner or GgmlPartitioner())
    inputs = example_inputs(program) if device else None  # lowering may change the program
    try:
        edge = lower({"forward": program}, partitioner=recorder)
        if recorder.try_again():
            edge = lower({"forward": program}, partitioner=recorder)
        explanation: Explanation = recorder.explanation
    except LoweringError as e:
        explanation = replace(recorder.explanation or _of_exported(program), failure=str(e))
    if device and inputs and not explanation.findings and not explanation.failure:
        report = try_on_device(edge, program, *inputs, device)
        explanation = replace(explanation, on_device=report)
    if strict:
        explanation.require_delegated()
    return explanation


def recording(partitioner: Any) -> Any:
    """A partitioner that works like ``partitioner`` and keeps the report in its attribute ``explanation``.

    For lowering a program and explaining it in one go: the report is there after ``to_edge_transform_and_lower``.
    """
    from executorch.exir.backend.partitioner import Partitioner, PartitionResult

    class Recorder(Partitioner):  # type: ignore[misc]
        """Lets the partitioner work and notes its decisions, before the graph is cut up."""

        explanation: Explanation | None = None

        def transform_for_pre_decomposition(self, exported_program: ExportedProgram) -> ExportedProgram:
            return partitioner.transform_for_pre_decomposition(exported_program)  # type: ignore[no-any-return]

        def ops_to_not_decompose(self, ep: ExportedProgram) -> Any:
            try:
                return partitioner.ops_to_not_decompose(ep)
            except UnloadableError as e:
                if self.explanation is not None:
                    self.explanation = replace(self.explanation, findings=e.findings)
                return [], None

        def try_again(self) -> bool:
            """Whether lowering would try once more, with operators taken apart that nobody can run whole."""
            findings = self.explanation.findings if self.explanation is not None else ()
            operators = {f.op for f in findings if f.kind == "kernel"}
            return bool(operators) and bool(partitioner.take_apart(operators))

        def partition(self, exported_program: ExportedProgram) -> PartitionResult:
            result = partitioner.partition(exported_program)
            provided = getattr(partitioner, "host_kernels", ())
            self.explanation = describe(exported_program, partitioner.decisions, provided)
            return result

    return Recorder()


def _of_exported(program: ExportedProgram) -> Explanation:
    """A report on a program that ExecuTorch does not lower: which of its operators ggml would take."""
    decisions = dry_run(program, ProgramView(program, WeightOptions()))
    taken = {n.name for n, reason in decisions.reasons.items() if not reason}
    report = describe(program, decisions)
    nodes = [replace(n, reason="ggml would run it", hot=False) if n.name in taken else n for n in report.nodes]
    return replace(report, nodes=tuple(nodes))
