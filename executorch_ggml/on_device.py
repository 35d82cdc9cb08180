"""What a lowered model does on a device: runs whole there, or is refused, node by node."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.export import ExportedProgram

from .errors import InvalidArgumentError, UnsupportedError

_NODE = re.compile(r"node -?\d+ \([^)]*\)")


@dataclass(frozen=True)
class DeviceReport:
    """One run on a device.

    A delegate is one graph of one device: what the device's kernels do not take is refused, not left to the CPU.

    Attributes:
        device: its name.
        refused: nodes that it cannot run (number in the payload, ggml's operation); empty when it ran the model.
        nodes: that ran in the last delegate.
        splits: pieces that the last delegate's graph was cut into: 1.
    """

    device: str
    refused: tuple[str, ...] = ()
    nodes: int = 0
    splits: int = 0

    def __str__(self) -> str:
        if not self.refused:
            return f"on {self.device}: all of every delegate runs there, none of it on the CPU"
        return "\n".join([f"on {self.device}: it cannot run", *(f"  {node}" for node in self.refused)])


def try_on_device(
    edge: Any, exported: ExportedProgram, args: Sequence[Any], kwargs: Mapping[str, Any] | None, device: str
) -> DeviceReport:
    """Runs an ``EdgeProgramManager`` once. Raises DeviceError when there is no such device."""
    from .diff.model import flat_inputs
    from .program import Program

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
