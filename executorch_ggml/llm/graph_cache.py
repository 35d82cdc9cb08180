"""The graph of a GGUF, exported once and kept: the file alone is enough to run a model.

    graph = cached_graph("Qwen3-0.6B-Q8_0.gguf")
    module = GGUFModule(graph.path, "Qwen3-0.6B-Q8_0.gguf")

torch is imported only when the graph is not there yet. The name of a kept graph has a hash of all that it depends on:
the GGUF's metadata and tensors, the options, and the code of this package.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from executorch_ggml.errors import FileError, LibraryError
from executorch_ggml.gguf.header import GgufHeader, read_header

from .export import GGUFExportConfig, export_gguf_to_pte

__all__ = ["CachedGraph", "bounded_length", "cache_folder", "cached_graph", "context_length"]

_PACKAGE = Path(__file__).parents[1]
# Their code decides the bytes of a graph.
_ROOMS = ("aot", "gguf", "ir", "llm/decoder", "llm/export.py", "__init__.py")


@dataclass(frozen=True)
class CachedGraph:
    """A graph in the cache. made: this call exported it. config: the options that it was exported with."""

    path: Path
    made: bool
    config: GGUFExportConfig


def cache_folder() -> Path:
    """Where graphs are kept: EXECUTORCH_GGML_GRAPHS, or a folder in the user's cache."""
    if own := os.environ.get("EXECUTORCH_GGML_GRAPHS"):
        return Path(own)
    parent = os.environ.get("XDG_CACHE_HOME")
    return (Path(parent) if parent else Path.home() / ".cache") / "executorch-ggml" / "graphs"


def cached_graph(
    gguf: str | os.PathLike[str] | GgufHeader,
    config: GGUFExportConfig | None = None,
    *,
    on_stage: Callable[[str], None] | None = None,
) -> CachedGraph:
    """The graph of a GGUF's model, exported now unless it was before.

    A graph appears in the cache complete or not at all. Of several processes that want the same one, one exports it
    and the others wait.

    Args:
        gguf: only its metadata and table of tensors are read; or these, already read.
        config: the choices of the export. If missing, the defaults, with no more positions than the model's context.
        on_stage: called with a few words when a stage of the export begins; never for a graph that is there.

    Raises:
        LibraryError: an export is needed and torch is not installed.
        FileError: the GGUF cannot be read, or the cache cannot be written.
        GgmlError: the other errors of `export_gguf_to_pte`.
    """
    header = gguf if isinstance(gguf, GgufHeader) else read_header(gguf)
    config = config or GGUFExportConfig(max_seq_len=bounded_length(header))
    folder = cache_folder()
    name = f"{header.path.stem[:80]}-{config.max_seq_len}-{_digest(header, config)}.pte"
    path = folder / name
    if path.is_file():
        return CachedGraph(path, False, config)
    if find_spec("torch") is None:
        raise LibraryError(
            f"{header.path}: the graph of this model is not in {folder} yet, and exporting it needs torch (once; "
            "running does not): pip install 'executorch-ggml[export]'. Or give a .pte that was exported elsewhere"
        )
    with _alone(path, on_stage):
        if path.is_file():  # another process made it meanwhile
            return CachedGraph(path, False, config)
        export_gguf_to_pte(header.path, path, config, on_stage=on_stage)
    return CachedGraph(path, True, config)


def bounded_length(header: GgufHeader, wanted: int = 2048) -> int:
    """`wanted` positions, or the length that the model was trained for where that is less."""
    context = context_length(header)
    return wanted if context is None else min(wanted, context)


def context_length(metadata: Mapping[str, Any]) -> int | None:
    """The length that the model was trained for, when the file names a usable one."""
    value: Any = metadata.get(f"{metadata.get('general.architecture')}.context_length")
    value = value.item() if hasattr(value, "item") else value
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _digest(header: GgufHeader, config: GGUFExportConfig) -> str:
    found = hashlib.sha256(_code())
    found.update(repr(astuple(config)).encode())
    found.update(header.fingerprint())
    return found.hexdigest()[:32]


@cache
def _code() -> bytes:
    """A hash of the code that makes graphs, the package's version included: an update must not run old graphs."""
    found = hashlib.sha256()
    for room in _ROOMS:
        top = _PACKAGE / room
        for path in sorted(top.rglob("*.py")) if top.is_dir() else [top]:
            found.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0")
            found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.digest()


@contextlib.contextmanager
def _alone(path: Path, on_stage: Callable[[str], None] | None) -> Iterator[None]:
    """Holds a lock of the system while the graph is made. Without such locks, two processes do the work twice."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        reason = error.strerror or error
        raise FileError(
            f"{path.parent}: the graph cannot be kept there: {reason}. EXECUTORCH_GGML_GRAPHS names another folder"
        ) from error
    try:
        _lock(handle, on_stage)
        yield
        with contextlib.suppress(OSError):
            path.with_suffix(".lock").unlink()
    finally:
        os.close(handle)


def _lock(handle: int, on_stage: Callable[[str], None] | None) -> None:
    try:
        import fcntl
    except ImportError:
        return
    with contextlib.suppress(OSError):  # some network file systems have no locks
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if on_stage is not None:
                on_stage("waiting for another process that exports it")
            fcntl.flock(handle, fcntl.LOCK_EX)
