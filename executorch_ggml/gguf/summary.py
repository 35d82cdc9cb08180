"""The contents of a GGUF, in a form for people and scripts. Needs neither torch nor the native library.

analyzer = GGUFAnalyzer("model.gguf")
analyzer.print_summary()
"""

from __future__ import annotations

import os
from typing import Any

from executorch_ggml.errors.tables import table
from executorch_ggml.ir.types import GgmlType, type_name

from .header import GgufHeader, Scalar, read_header
from .shapes import shape_text
from .types import BLOCK_SIZES

__all__ = ["GGUFAnalyzer"]


def _elements(shape: tuple[int, ...]) -> int:
    total = 1
    for extent in shape:
        total *= extent
    return total


class GGUFAnalyzer:
    """Reads the header of a GGUF (or of a split set, given its first file).

    Raises FileError, FormatError or UnsupportedError, as `read_header` does.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.header: GgufHeader = read_header(self.path)

    def get_model_architecture(self) -> str | None:
        """`general.architecture`, or None when the file names none."""
        value = self.header.get("general.architecture")
        return value if isinstance(value, str) else None

    def get_config(self) -> dict[str, Scalar]:
        """The single values of the metadata (arrays, such as token lists, left out), by key, in file order."""
        return {key: value for key in self.header if not isinstance(value := self.header[key], list)}

    def get_tensor_names(self) -> list[str]:
        """Names in file order."""
        return list(self.header.tensors)

    def get_tensor_count(self) -> int:
        return len(self.header.tensors)

    def get_file_info(self) -> dict[str, Any]:
        """path, paths, file_bytes, architecture, name, tensors, parameters, and types {name: {tensors, bytes}}.

        bytes is None for a type that this version does not know.
        """
        types: dict[str, dict[str, Any]] = {}
        parameters = 0
        for info in self.header.tensors.values():
            count = _elements(info.shape)
            parameters += count
            entry = types.setdefault(type_name(info.type), {"tensors": 0, "bytes": 0})
            entry["tensors"] += 1
            if info.type not in BLOCK_SIZES:
                entry["bytes"] = None
            elif entry["bytes"] is not None:
                block, size = BLOCK_SIZES[GgmlType(info.type)]
                entry["bytes"] += count // block * size
        return {
            "path": str(self.header.path),
            "paths": [str(path) for path in self.header.paths],
            "file_bytes": sum(path.stat().st_size for path in self.header.paths),
            "architecture": self.get_model_architecture(),
            "name": self.header.get("general.name"),
            "tensors": len(self.header.tensors),
            "parameters": parameters,
            "types": types,
        }

    def tensor_rows(self) -> list[tuple[str, str, str]]:
        """(name, type, shape in ggml order) of each tensor, in file order."""
        return [(t.name, type_name(t.type), shape_text(t.shape)) for t in self.header.tensors.values()]

    def summary(self, tensors: bool = False) -> str:
        """The text that `print_summary` prints. tensors: with a row for each of them."""
        info = self.get_file_info()
        arch = info["architecture"] or ""
        facts = [
            ("file", info["path"] + (f" and {len(info['paths']) - 1} more" if info["paths"][1:] else "")),
            ("size", f"{info['file_bytes']:,} bytes"),
            ("model", f"{info['name'] or '-'} ({arch or 'no architecture named'})"),
            ("parameters", f"{info['parameters']:,} in {info['tensors']} tensors"),
        ]
        types = [
            (name, entry["tensors"], "unknown" if entry["bytes"] is None else f"{entry['bytes']:,}")
            for name, entry in sorted(info["types"].items(), key=lambda item: -(item[1]["bytes"] or 0))
        ]
        metadata = [
            (key, f"[{len(value)} elements]" if isinstance(value := self.header[key], list) else f"{value!r:.70}")
            for key in self.header
        ]
        sections = [table(facts)]
        sections += [table(types, ("type", "tensors", "bytes"), right=(1, 2))] if types else []
        sections += [table(metadata, ("metadata", "value"))] if metadata else []
        sections += [table(self.tensor_rows(), ("tensor", "type", "shape (ggml order)"))] if tensors else []
        return "\n\n".join(sections)

    def print_summary(self) -> None:
        """Prints file, size, types and metadata to stdout."""
        print(self.summary())
