"""The contents of a GGUF, in a form for people and scripts. Needs neither torch nor the native library.

analyzer = GGUFAnalyzer("model.gguf")
analyzer.print_summary()
"""

from __future__ import annotations

import os
from typing import Any

from executorch_ggml.errors.printable import printable

from .header import GgufHeader, Scalar, read_header

__all__ = ["GGUFAnalyzer"]

# ggml_type numbers as GGUF files use them: (name, elements a block, bytes a block).
_TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
}  # fmt: skip


def type_name(number: int) -> str:
    """The name of a ggml type, or "type <n>" for one this table does not know."""
    return _TYPES[number][0] if number in _TYPES else f"type {number}"


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

        bytes is None for a type that the table here does not know.
        """
        types: dict[str, dict[str, Any]] = {}
        parameters = 0
        for info in self.header.tensors.values():
            count = _elements(info.shape)
            parameters += count
            entry = types.setdefault(type_name(info.type), {"tensors": 0, "bytes": 0})
            entry["tensors"] += 1
            if info.type not in _TYPES:
                entry["bytes"] = None
            elif entry["bytes"] is not None:
                _, block, size = _TYPES[info.type]
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

    def summary(self) -> str:
        """The text that `print_summary` prints."""
        info = self.get_file_info()
        arch = info["architecture"] or ""
        lines = [
            f"file          {info['path']}" + (f" and {len(info['paths']) - 1} more" if info["paths"][1:] else ""),
            f"size          {info['file_bytes']:,} bytes",
            f"model         {info['name'] or '-'} ({arch or 'no architecture named'})",
            f"parameters    {info['parameters']:,} in {info['tensors']} tensors",
        ]
        for name, entry in sorted(info["types"].items(), key=lambda item: -(item[1]["bytes"] or 0)):
            size = "" if entry["bytes"] is None else f", {entry['bytes']:,} bytes"
            lines.append(f"  {name:<12}{entry['tensors']} tensors{size}")
        lines.append("metadata")
        for key in self.header:
            value = self.header[key]
            shown = f"[{len(value)} elements]" if isinstance(value, list) else f"{value!r:.70}"
            lines.append(f"  {key:<46} {shown}")
        return "\n".join(printable(line, one_line=True) for line in lines)

    def print_summary(self) -> None:
        """Prints file, size, types and metadata to stdout."""
        print(self.summary())
