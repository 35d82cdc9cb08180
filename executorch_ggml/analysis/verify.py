"""Runs a lowered program once and holds its results against eager: ``to_edge_rewrite_and_lower(..., verify=inputs)``.

The ahead-of-time half loads no native library; this module loads it when it is asked to run something, not before.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from executorch_ggml.aot.program_view import has_data
from executorch_ggml.errors import (
    FormatError,
    GgmlError,
    InvalidArgumentError,
    MismatchError,
    UnloadableError,
    UnsupportedError,
)
from executorch_ggml.runtime.program import Program

from .diff.compare import compare, tolerance_for
from .diff.emit import emit
from .diff.mapping import LoweredDelegate
from .diff.model import diff_lowered
from .diff.walk import Walk, to_array
from .model_inputs import as_input, flat_inputs
from .reference import delegates

Inputs = bool | Sequence[Any] | Mapping[str, Any]


@dataclass(frozen=True)
class _Call:
    """One call that is to be verified: flat inputs, and eager's results."""

    method: str
    program: ExportedProgram
    inputs: list[Any]
    wanted: list[Any]


class Verification:
    """Eager's results, taken before the program is lowered, and the comparison afterwards.

    Args:
        programs: exported programs by method.
        inputs: True for the example inputs of each export; a tuple of inputs; a list of tuples; or any of these by
            method. ``(args, kwargs)`` is such a tuple too, if the first is a tuple and the second a mapping.

    Raises:
        InvalidArgumentError: inputs that are missing or of another form, or weights without data.
    """

    def __init__(self, programs: Mapping[str, ExportedProgram], inputs: Inputs) -> None:
        self.calls: list[_Call] = []
        if inputs is None or inputs is False:
            return
        by_method = inputs if isinstance(inputs, Mapping) else dict.fromkeys(programs, inputs)
        if unknown := sorted(set(by_method) - set(programs)):
            raise InvalidArgumentError(f"verify: no method {', '.join(unknown)}; there are {', '.join(programs)}")
        for method, given in by_method.items():
            program = programs[method]
            _require_data(program, method)
            for args, kwargs in _calls(program, method, given):
                flat = [_copy(v) for v in flat_inputs(program, args, kwargs)]
                takes = len(program.graph_signature.user_inputs)
                if len(flat) != takes:
                    raise InvalidArgumentError(f"verify: {method} takes {takes} inputs, {len(flat)} were given")
                try:
                    wanted = Walk(program, lambda *_: None)([_copy(v) for v in flat])
                except Exception as e:  # any error of torch for inputs that the program was not exported for
                    raise InvalidArgumentError(f"verify: {method} cannot be run in eager on these inputs: {e}") from e
                self.calls.append(_Call(method, program, flat, wanted))

    def run(self, edge: Any) -> None:
        """Compares; the program that it is given stays as it is.

        Raises:
            MismatchError: a result differs from eager's; it names the first operation that differs.
            UnloadableError: the program cannot be loaded, or refuses the inputs.
        """
        if not self.calls:
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "verify.pte"
            path.write_bytes(emit(edge))
            at = "it cannot be loaded"
            try:
                with Program(path, cache_type="f32") as program:
                    for call in self.calls:
                        at = f"{call.method} refuses the inputs"
                        program.reset()
                        self._compare(edge, call, program.execute(call.method, [_argument(v) for v in call.inputs]))
            except (MismatchError, MemoryError):
                raise
            except GgmlError as e:
                raise UnloadableError(f"verify: {at}: {e}") from e

    def _compare(self, edge: Any, call: _Call, results: list[Any]) -> None:
        wanted = [w for w in call.wanted if w is not None]
        results = [r for r in results if r is not None]
        if len(results) != len(wanted):
            raise MismatchError(f"verify: {call.method} gives {len(results)} results, eager {len(wanted)}")
        for index, (got, want) in enumerate(zip(results, wanted, strict=True)):
            if why := _difference(got, want, _tolerance(edge, call.method)):
                text, report = _attribution(edge, call)
                raise MismatchError(
                    f"verify: result {index} of {call.method} is not what eager computes: {why}{text}", report
                )


def _calls(program: ExportedProgram, method: str, given: Any) -> list[tuple[Sequence[Any], Mapping[str, Any]]]:
    if given is True:
        if program.example_inputs is None:
            raise InvalidArgumentError(f"verify: the export of {method} kept no example inputs; give some")
        return [program.example_inputs]
    if isinstance(given, tuple):
        given = [given]
    if not isinstance(given, list) or not all(isinstance(g, tuple) for g in given):
        raise InvalidArgumentError(f"verify: {method} wants True, a tuple of inputs, or a list of tuples")
    return [g if _is_args_and_kwargs(g) else (g, {}) for g in given]


def _is_args_and_kwargs(given: tuple[Any, ...]) -> bool:
    return len(given) == 2 and isinstance(given[0], tuple) and isinstance(given[1], Mapping)


def _require_data(program: ExportedProgram, method: str) -> None:
    for name, tensor in (*program.state_dict.items(), *program.constants.items()):
        if isinstance(tensor, torch.Tensor) and not has_data(tensor):
            raise InvalidArgumentError(f"verify: {name} of {method} has no data here, so eager cannot compute anything")


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, torch.Tensor) else value


def _argument(value: Any) -> Any:
    return as_input(value)


def _tolerance(edge: Any, method: str) -> Any:
    lowered = edge.exported_program(method)
    vals = (n.meta.get("val") for n in lowered.graph.nodes)
    dtypes = {str(v.dtype).removeprefix("torch.") for v in vals if isinstance(v, torch.Tensor)}
    return tolerance_for(dtypes, {w for m in delegates(lowered).values() for w in LoweredDelegate(m).weight_types})


def _difference(got: Any, want: Any, tolerance: Any) -> str:
    """The difference of a result from eager's, or an empty string. NaN equals NaN, an infinity only itself."""
    if not isinstance(want, torch.Tensor):
        return "" if got == want or (got != got and want != want) else f"{got}, not {want}"
    if tuple(got.shape) != tuple(want.shape):
        return f"shape {list(got.shape)}, not {list(want.shape)}"
    array = to_array(got) if isinstance(got, torch.Tensor) else got
    dtype = str(want.dtype).removeprefix("torch.")
    if str(got.dtype).removeprefix("torch.") != dtype:
        return f"type {got.dtype}, not {dtype}"
    errors = compare(array, to_array(want), tolerance, dtype=dtype, strict=True)
    if errors.within:
        return ""
    numbers = f"largest error {errors.max_abs:.3g}, NMSE {errors.nmse:.3g}"
    return f"{errors.wrong} of {want.numel()} elements off by themselves, {numbers}"


def _attribution(edge: Any, call: _Call) -> tuple[str, Any]:
    """The first operation that differs, as text, and the report it comes from."""
    try:
        report = diff_lowered(call.program, edge, call.method, call.inputs)
    except (InvalidArgumentError, UnsupportedError, FormatError) as e:
        return f"; which operation it is cannot be told: {e}", None
    first = report.first
    if first is None:
        return "; every operation by itself is within tolerance", report
    place = f" [{first.source}]" if first.source else ""
    return f"; the first operation that differs is {first.name} ({first.op}, {first.stage}){place}", report
