"""A model in the library against eager, operation by operation."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from executorch_ggml.analysis.model_inputs import as_input, flat_inputs
from executorch_ggml.analysis.reference import delegates as delegates_of
from executorch_ggml.aot.lower import lower
from executorch_ggml.aot.lower_nodes import source_line
from executorch_ggml.aot.node_view import overload_of
from executorch_ggml.aot.trace import traced
from executorch_ggml.errors import GgmlError, InvalidArgumentError
from executorch_ggml.ir.errors import IrError
from executorch_ggml.runtime.program import Program

from .compare import Tolerance, compare, tolerance_for
from .emit import emit
from .interpret import WatchedInterpreter
from .mapping import LoweredDelegate
from .native import Recording, record
from .report import Difference, DiffReport, Stage
from .walk import HOST, Walk, largest, to_array

log = logging.getLogger(__name__)


def diff_model(
    model: ExportedProgram | torch.nn.Module,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    dynamic_shapes: Any = None,
    partitioner: Any = None,
    nmse: float | None = None,
    peak: float | None = None,
    threads: int | None = None,
    gguf: str | os.PathLike[str] | None = None,
    weight_types: Collection[str] = (),
    subject: str = "",
) -> DiffReport:
    """Exports, lowers and runs a model, and compares each value with torch's.

    Two things are compared, in this order: the graph after our rewrites with the model as exported, both on torch's
    kernels; and ggml's values with those of that graph. Weights that the `.pte` holds quantised are quantised in the
    reference too, so only the error of the computation remains.

    Args:
        model: an exported ATen program, or a module.
        args: inputs; the exported program's example inputs if missing.
        kwargs: inputs given by name.
        dynamic_shapes: for a module, as in ``torch.export.export``.
        partitioner: a ``GgmlPartitioner`` with the options of the real export.
        nmse: how much is allowed, see ``Tolerance``; the default follows the program's types.
        peak: likewise.
        threads: compute threads of the library.
        gguf: the file that brings the weights which ``partitioner`` leaves external. The model must have the same
            weights (``load_gguf``).
        weight_types: ggml's names of their types; quantised ones allow more.
        subject: the report's name for the model.

    Raises:
        InvalidArgumentError: no inputs, a module that torch.export refuses, or nothing was delegated.
        GgmlError: any error of lowering or running the program.
    """
    if args is None and isinstance(model, ExportedProgram) and model.example_inputs is not None:
        args, kwargs = model.example_inputs
    if args is None:
        raise InvalidArgumentError("diff needs inputs: give args, or an exported program that has example inputs")
    if isinstance(model, ExportedProgram):
        exported = model
    else:
        subject = subject or type(model).__name__
        exported = traced(model, args, kwargs or {}, dynamic_shapes, subject)
    flat = flat_inputs(exported, args, kwargs)
    return _Diff(exported, flat, partitioner, threads, gguf=gguf, weight_types=weight_types).run(
        nmse, peak, subject or "the program"
    )


def diff_lowered(exported: ExportedProgram, edge: Any, method: str, flat: list[Any]) -> DiffReport:
    """The same for a method that was lowered already (``edge`` stays as it is).

    Args:
        exported: its source, before lowering.
        edge: ``EdgeProgramManager`` with the method.
        flat: inputs in the order in which the `.pte` takes them.

    Raises:
        InvalidArgumentError: nothing was delegated.
        GgmlError: any error of running the program.
    """
    return _Diff(exported, flat, None, None, edge, method).run(None, None, method)


class _Diff:
    """One comparison."""

    def __init__(
        self,
        exported: ExportedProgram,
        flat: list[Any],
        partitioner: Any,
        threads: int | None,
        edge: Any = None,
        method: str = "forward",
        gguf: str | os.PathLike[str] | None = None,
        weight_types: Collection[str] = (),
    ) -> None:
        self.flat, self.threads, self.method = flat, threads, method
        self.gguf, self.weight_types = gguf, weight_types
        # Before lowering, which may change the program it is given.
        self.atens: dict[str, tuple[Any, float, Node]] = {}
        self.wanted = Walk(exported, self._keep_aten)(flat)
        self.edge = edge or lower({"forward": exported}, partitioner=partitioner)
        self.lowered: ExportedProgram = self.edge.exported_program(method)
        found = delegates_of(self.lowered)
        if not found:
            raise InvalidArgumentError("nothing was delegated, so there is nothing to compare: see explain")
        self.indices = {name: index for index, name in enumerate(found)}
        self.delegates = [LoweredDelegate(module) for module in found.values()]

    def _keep_aten(self, _delegate: int, node: Node, value: Any, operands: Sequence[Any]) -> None:
        if isinstance(value, torch.Tensor):
            self.atens[node.name] = (value, largest(operands), node)

    def run(self, nmse: float | None, peak: float | None, subject: str) -> DiffReport:
        self.tolerance = self._tolerance().limited(nmse, peak)
        rewrites = self._rewrites()
        outputs, recordings = self._native()
        values, missing = self._nodes(recordings)
        quantised = any(d.weights for d in self.delegates)
        # With quantised weights the rewritten graph's own results are the reference, as for the nodes before them.
        reference = self.results if quantised else self.wanted
        values += self._outputs(outputs, reference)
        report = DiffReport(
            subject=subject,
            reference="eager with the weights as quantised" if quantised else "eager",
            tolerance=self.tolerance,
            values=(*rewrites, *values),
            not_compared=missing,
        )
        first = report.first
        if first is not None and first.stage == "node":
            verdict = self._verdict(first, recordings[first.delegate])
            report = DiffReport(subject, report.reference, report.tolerance, report.values, missing, verdict)
        return report

    def _tolerance(self) -> Tolerance:
        dtypes = {str(value.dtype).removeprefix("torch.") for value, _, _ in self.atens.values()}
        return tolerance_for(dtypes, {*self.weight_types, *(w for d in self.delegates for w in d.weight_types)})

    # ---------------------------------------------------------------- rewrites

    def _rewrites(self) -> list[Difference]:
        """Differences of the rewritten graph from the model, on torch's kernels; empty if results agree."""
        values: dict[str, tuple[Any, Node]] = {}

        def keep(_delegate: int, node: Node, value: Any, _operands: Sequence[Any]) -> None:
            origin = _origin(node)
            if origin in self.atens and isinstance(value, torch.Tensor):
                values[origin] = (value, node)  # a decomposed operator's value is that of its last part

        results = Walk(self.lowered, keep, self.indices)(self.flat)
        pairs = list(zip(results, self.wanted, strict=True))
        if all(self._errors(got, want, 0.0).within for got, want in pairs if isinstance(want, torch.Tensor)):
            return []
        found = []
        for name, (want, scale, node) in self.atens.items():
            got = values.get(name)
            if got is None or got[0].shape != want.shape:
                continue
            errors = self._errors(got[0], want, scale)
            if not errors.within:
                found.append(_difference("rewrite", node, want, HOST, -1, errors))
        return found

    # ---------------------------------------------------------------- ggml

    def _native(self) -> tuple[list[Any], dict[int, Recording]]:
        wanted = {(i, ir) for i, d in enumerate(self.delegates) for ir in d.nodes.values()}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "diff.pte"
            path.write_bytes(emit(self.edge))
            with Program(path, self.gguf, threads=self.threads, cache_type="f32") as program:
                return record(program, self.method, [as_input(a) for a in self.flat], wanted)

    def _nodes(self, recordings: dict[int, Recording]) -> tuple[list[Difference], int]:
        values: list[Difference] = []
        missing = 0
        known: dict[Node, Any] = {}

        def visit(delegate: int, node: Node, value: Any, operands: Sequence[Any]) -> None:
            nonlocal missing
            if delegate == HOST or not isinstance(value, torch.Tensor):
                return
            ir = self.delegates[delegate].nodes.get(node, -1)
            got = recordings[delegate].nodes.get(ir) if delegate in recordings else None
            if got is None or got.size != value.numel():
                missing += 1
                return
            errors = self._errors(got, value, largest(operands))
            values.append(_difference("node", node, value, delegate, ir, errors))
            known[node] = to_array(value)

        walk = _InputWalk(self, recordings, values, visit)
        self.results = walk(self.flat)
        self._references = known
        return values, missing

    def _outputs(self, outputs: list[Any], wanted: list[Any]) -> list[Difference]:
        tensors = [(i, w) for i, w in enumerate(wanted) if isinstance(w, torch.Tensor)]
        found = []
        for (index, want), got in zip(tensors, [o for o in outputs if hasattr(o, "shape")], strict=True):
            node = self.lowered.graph.output_node()
            errors = self._errors(got, want, 0.0)
            found.append(_difference("output", node, want, HOST, -1, errors, name=f"output {index}"))
        return found

    def _errors(self, got: Any, want: torch.Tensor, scale: float) -> Any:
        array = to_array(got) if isinstance(got, torch.Tensor) else got
        dtype = str(want.dtype).removeprefix("torch.")
        return compare(array, to_array(want), self.tolerance, scale=scale, dtype=dtype)

    # ---------------------------------------------------------------- verdict

    def _verdict(self, first: Difference, recording: Recording) -> str:
        """Whether the IR agrees with torch (then ggml computed it wrongly) or with ggml."""
        delegate = self.delegates[first.delegate]
        (node,) = (n for n, ir in delegate.nodes.items() if ir == first.ir_node and n.name == first.name)
        seen: dict[int, Any] = {}

        def see(index: int, value: Any, _sources: Sequence[Any]) -> None:
            if index == first.ir_node:
                seen[index] = value.copy()
                raise _SeenEnoughError

        interpreter = WatchedInterpreter(delegate.payload, delegate.data, recording.symbol_list, see)
        try:
            interpreter.run(recording.input_list)
        except _SeenEnoughError:
            pass
        except (GgmlError, IrError, NotImplementedError) as e:
            log.debug("the reference interpreter cannot run delegate %d: %s", first.delegate, e)
        if first.ir_node not in seen:
            return ""
        got = recording.nodes[first.ir_node]
        if compare(seen[first.ir_node], self._references[node], self.tolerance).within:
            return "the kernel: the graph means what eager computes, ggml computes something else"
        if compare(got, seen[first.ir_node], self.tolerance).within:
            return "the lowering: ggml computes what the graph says, which is not what eager computes"
        return "neither ggml nor the reference interpreter computes what eager does, nor do they agree"


class _SeenEnoughError(Exception):
    """Ends the interpreter's run at the node in question: the rest of a large model would take minutes."""


class _InputWalk(Walk):
    """Compares the host's values for a delegate before walking through the delegate."""

    def __init__(self, diff: _Diff, recordings: dict[int, Recording], values: list[Difference], visit: Any) -> None:
        weights = {i: d.weights for i, d in enumerate(diff.delegates)}
        super().__init__(diff.lowered, visit, diff.indices, weights)
        self._diff, self._recordings, self._values = diff, recordings, values

    def _run(self, ep: ExportedProgram, args: list[Any], delegate: int) -> list[Any]:
        if delegate in self._recordings:
            names = [str(s.arg.name) for s in ep.graph_signature.input_specs if s.kind.name == "USER_INPUT"]
            by_name = {n.name: n for n in ep.graph.nodes if n.op == "placeholder"}
            given = self._recordings[delegate].inputs
            for index, (name, want) in enumerate(zip(names, args, strict=True)):
                got = given.get(index)
                if isinstance(want, torch.Tensor) and got is not None and got.size == want.numel():
                    errors = self._diff._errors(got, want, 0.0)
                    self._values.append(_difference("input", by_name[name], want, delegate, -1, errors))
        return super()._run(ep, args, delegate)


def _difference(
    stage: Stage, node: Node, want: torch.Tensor, delegate: int, ir: int, errors: Any, name: str = ""
) -> Difference:
    target = overload_of(node.target)
    return Difference(
        stage=stage,
        name=name or node.name,
        op=str(target) if hasattr(target, "_schema") else node.op,
        shape=tuple(int(d) for d in want.shape),
        dtype=str(want.dtype).removeprefix("torch."),
        source=source_line(node),
        delegate=delegate,
        ir_node=ir,
        errors=errors,
    )


def _origin(node: Node) -> str:
    """Name of the node of the exported program that a node stems from; empty when export did not note it."""
    sources = node.meta.get("from_node")
    name = ""
    while sources:
        name = str(sources[-1].name)
        sources = sources[-1].from_node
    return name
