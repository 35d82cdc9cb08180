"""The devices of this machine, and facts about the library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from . import _load


@dataclass(frozen=True)
class Device:
    """A device of this machine; `name` is a value for the option `device` of a Program."""

    name: str
    description: str
    type: str
    """cpu, gpu, igpu or accel"""
    memory_free: int
    """bytes"""
    memory_total: int
    usable: bool
    reason: str
    """why not, when it is not usable"""


def devices() -> list[Device]:
    """Every device that the installed backends see, usable or not."""
    return [
        Device(
            name=str(entry["name"]),
            description=str(entry.get("description", "")),
            type=str(entry.get("type", "")),
            memory_free=int(entry.get("memory_free", 0)),
            memory_total=int(entry.get("memory_total", 0)),
            usable=bool(entry.get("usable", True)),
            reason=str(entry.get("reason") or ""),
        )
        for entry in _load.take_json("etggml_devices")
    ]


def default_threads() -> int:
    """Compute threads a program uses unless told: physical cores available to this process."""
    return int(_load.library().etggml_default_threads())


def build_info() -> dict[str, Any]:
    """Versions, compiler and options of the library, and where it was loaded from."""
    info = cast("dict[str, Any]", _load.take_json("etggml_build_info"))
    return {**info, "path": str(_load.library_path())}
