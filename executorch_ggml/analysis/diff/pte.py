"""A `.pte` in the library against the reference interpreter of its graphs, node by node."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from executorch_ggml.analysis.reference import decode
from executorch_ggml.errors import InvalidArgumentError
from executorch_ggml.ir.errors import IrError
from executorch_ggml.ir.operators import CALLER, operator
from executorch_ggml.ir.serialize import deserialize
from executorch_ggml.ir.types import DType, GgmlType, type_name
from executorch_ggml.runtime.gguf_file import GGUFFile
from executorch_ggml.runtime.program import Program, payloads

from .compare import Errors, Tolerance, compare, tolerance_for
from .inputs import random_inputs
from .interpret import WatchedInterpreter
from .native import Recording, record
from .pte_view import PteView
from .report import Difference, DiffReport
from .sources import Source, read_sources


def diff_pte(
    pte: str | os.PathLike[str],
    inputs: Sequence[Any] | None = None,
    *,
    gguf: str | os.PathLike[str] | None = None,
    etrecord: str | os.PathLike[str] | None = None,
    method: str = "forward",
    seed: int = 0,
    nmse: float | None = None,
    peak: float | None = None,
    threads: int | None = None,
) -> DiffReport:
    """Runs a method once and compares every node of every delegate with a float64 interpreter of the same graph.

    The interpreter gets the real inputs of the delegate, so each delegate is checked by itself, and operators
    that ExecuTorch runs in between are not checked. It tells a wrong kernel, not a wrong lowering: for that, give the
    model to ``diff_model``. It is written in numpy and takes its time with large models.

    Args:
        inputs: arrays, tensors or numbers; random ones that the graphs accept if missing.
        gguf: the weights, when the `.pte` does not hold them.
        etrecord: ExecuTorch's record of the export, which names the line of the model of each node.
        seed: of the random inputs.
        nmse: how much is allowed, see ``Tolerance``; the default follows the types of the weights.
        peak: likewise.
        threads: compute threads of the library.

    Raises:
        InvalidArgumentError: no such method, no delegate of ours in it, a node the interpreter cannot compute.
        FileError, FormatError, BindError, ShapeError, ...: as loading and running a ``Program``.
    """
    view = PteView(pte, method)
    found = [p for p in payloads(pte) if p.method == method]
    if not found:
        raise InvalidArgumentError(f"{os.fspath(pte)}: method {method!r} has no delegate of ours to compare")
    graphs = [deserialize(payload.data) for payload in found]
    with Program(pte, gguf, threads=threads, cache_type="f32") as program:
        if inputs is None:
            (info,) = (m for m in program.info()["methods"] if m["name"] == method)
            inputs = random_inputs(info, view, graphs, seed)
        _, recordings = record(program, method, inputs)
    weights = _Weights(view.named_data(), gguf)
    limits = tolerance_for(_dtypes(graphs), weights.types(graphs)).limited(nmse, peak)
    sources = read_sources(etrecord, method) if etrecord is not None else {}
    values: list[Difference] = []
    missing = 0
    for payload, graph in zip(found, graphs, strict=True):
        recording = recordings.get(payload.index)
        if recording is None:
            continue
        side = _Side(graph, recording, limits, payload.index, sources)
        interpreter = WatchedInterpreter(payload.data, weights.of(graph), recording.symbol_list, side.see)
        try:
            interpreter.run(recording.input_list)
        except IrError as e:
            raise InvalidArgumentError(f"{os.fspath(pte)}, delegate {payload.index}: {e}") from e
        values += side.values
        missing += side.missing
    return DiffReport(os.fspath(pte), "the interpreter of its graphs", limits, tuple(values), missing)


class _Side:
    """Takes the interpreter's values and compares them with the recorded ones."""

    def __init__(
        self,
        graph: Any,
        recording: Recording,
        tolerance: Tolerance,
        delegate: int,
        sources: Mapping[int, Source],
    ) -> None:
        self.graph, self.recording, self.tolerance, self.delegate = graph, recording, tolerance, delegate
        self.sources = sources
        self.values: list[Difference] = []
        self.missing = 0

    def see(self, index: int, want: Any, sources: Sequence[Any]) -> None:
        node = self.graph.nodes[index]
        kind = type(node.op).__name__.removesuffix("T")
        if operator(kind).memory == CALLER:
            return
        got = self.recording.nodes.get(index)
        if got is None or got.size != want.size:
            self.missing += 1
            return
        source = self.sources.get(int(node.debugHandle))
        handle = f" #{node.debugHandle}" if node.debugHandle else ""
        shape = list(want.shape)
        while len(shape) > 1 and shape[0] == 1:
            shape.pop(0)
        self.values.append(
            Difference(
                stage="node",
                name=f"%{index}" + (f" {source.name}" if source else handle),
                op=f"{kind} of {source.op}" if source else kind,
                shape=tuple(shape),
                dtype=type_name(node.type),
                source=source.line if source else "",
                delegate=self.delegate,
                ir_node=index,
                errors=self._errors(got, want, sources),
            )
        )

    def _errors(self, got: Any, want: Any, sources: Sequence[Any]) -> Errors:
        scale = max((_magnitude(s) for s in sources), default=0.0)
        return compare(got, want, self.tolerance, scale=scale)


def _magnitude(array: Any) -> float:
    if not array.size or array.dtype.kind not in "fiu":
        return 0.0
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max()) if finite.size else 0.0


class _Weights:
    """Weights by key, decoded when they are asked for: from the `.pte`, else from the GGUF."""

    def __init__(self, named: Mapping[str, bytes], gguf: str | os.PathLike[str] | None) -> None:
        self._named = named
        self._file = GGUFFile(gguf) if gguf is not None else None

    def of(self, graph: Any) -> Mapping[str, Any]:
        """For one payload; the runtime prefers the GGUF as well."""
        return _Lazy(decode(self._named, graph), self._file)

    def types(self, graphs: list[Any]) -> set[str]:
        """Names of the ggml types that the weights have, or are converted to when loaded."""
        found = set()
        for slot in (slot for graph in graphs for slot in graph.weights or []):
            kind = GgmlType(int(slot.cast if slot.cast != GgmlType.ANY else slot.type))
            if kind is not GgmlType.ANY or self._file is None:
                found.add(kind.name)
                continue
            keys = [_text(key) for part in slot.parts for key in part.keys]
            found |= {self._file.tensors[key].type_name.upper() for key in keys if key in self._file.tensors}
        return found


class _Lazy(Mapping[str, Any]):
    def __init__(self, decoded: dict[str, Any], file: GGUFFile | None) -> None:
        self._decoded, self._file = decoded, file

    def __getitem__(self, key: str) -> Any:
        if self._file is not None and key in self._file.tensors:
            return self._file.dequantize(key)
        return self._decoded[key]

    def __contains__(self, key: object) -> bool:
        return key in self._decoded or (self._file is not None and key in self._file.tensors)

    def __iter__(self) -> Iterator[str]:
        return iter({*self._decoded, *(self._file.tensors if self._file is not None else ())})

    def __len__(self) -> int:
        return len(list(iter(self)))


def _dtypes(graphs: list[Any]) -> set[str]:
    return {DType(item.dtype).name.lower() for graph in graphs for item in graph.outputs or []}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
