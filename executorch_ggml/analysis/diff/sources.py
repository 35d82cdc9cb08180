"""Where the nodes of a `.pte` come from: ExecuTorch's record of the export, found by debug handle."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from executorch_ggml.aot.lower_nodes import source_line
from executorch_ggml.aot.node_view import overload_of
from executorch_ggml.errors import FileError, FormatError


@dataclass(frozen=True)
class Source:
    """The torch operation behind a debug handle: name of its node, its ATen operator, ``file:line`` of the model."""

    name: str
    op: str
    line: str


def read_sources(path: str | os.PathLike[str], method: str = "forward") -> dict[int, Source]:
    """Sources by debug handle, from an ETRecord (``generate_etrecord=True``, ``get_etrecord().save(path)``).

    Raises:
        FileError: there is no such file.
        FormatError: it is no ETRecord, or holds no edge program of that method.
    """
    from executorch.devtools.etrecord import parse_etrecord

    if not os.path.isfile(path):
        raise FileError(f"{os.fspath(path)}: no such file")
    try:
        record = parse_etrecord(os.fspath(path))
    except Exception as e:  # any error of its reader
        raise FormatError(f"{os.fspath(path)}: not an ETRecord: {e or type(e).__name__}") from e
    programs: Any = record.edge_dialect_program
    program = programs.get(method) if isinstance(programs, dict) else programs
    if program is None:
        raise FormatError(f"{os.fspath(path)} holds no edge program of method {method!r}")
    found: dict[int, Source] = {}
    for node in program.graph.nodes:
        handle = node.meta.get("debug_handle")
        if node.op == "call_function" and isinstance(handle, int) and handle:
            found[handle] = Source(node.name, str(overload_of(node.target)), source_line(node))
    return found
