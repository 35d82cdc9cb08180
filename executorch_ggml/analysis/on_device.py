"""The result of a lowered model on a device: it runs whole there, or is refused, node by node."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.export import ExportedProgram

from executorch_ggml.aot.explanation import DeviceReport
from executorch_ggml.errors import InvalidArgumentError, UnsupportedError
from executorch_ggml.runtime.program import Program

from .model_inputs import flat_inputs

_NODE = re.compile(r"node -?\d+ \([^)]*\)")


def try_on_device(
    edge: Any, exported: ExportedProgram, args: Sequence[Any], kwargs: Mapping[str, Any] | None, device: str
) -> DeviceReport:
    """Runs an ``EdgeProgramManager`` once. Raises DeviceError when there is no such device."""
    with tempfile.TemporaryDirectory() as folder:
        pte = Path(folder) / "model.pte"
        pte.write_bytes(edge.to_executorch().buffer)
        try:
            with Program(pte, device=device) as program:
                program.execute("forward", flat_inputs(exported, args, kwargs))
                graph = program.stats()["graph"]
        except UnsupportedError as error:
            refused = tuple(_NODE.findall(str(error)))
            if not refused:
                raise
            return DeviceReport(device, refused)
    return DeviceReport(device, (), graph["nodes"], graph["splits"])


def example_inputs(exported: ExportedProgram) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Those that the program was exported with. Raises InvalidArgumentError when it has lost them."""
    if exported.example_inputs is None:
        raise InvalidArgumentError("trying a device needs inputs, and the exported program has no example inputs")
    args, kwargs = exported.example_inputs
    return args, kwargs
