"""Finds and loads `libexecutorch_ggml`, once per process, without importing torch or executorch.

The library needs the `libexecutorch` of the `executorch` wheel. The process must have exactly one of it: a second copy
is a second backend registry, without our backend. So that copy is loaded first, by its absolute path. The loader then
matches ours to it by name, in any place. An editable install has no `executorch` beside it that a RUNPATH could find.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib.metadata
import importlib.util
import json
import logging
import math
import os
import re
import sys
import threading
from pathlib import Path
from typing import Any

from executorch_ggml.errors import InvalidArgumentError, LibraryError, error_for

from . import _abi, _exit, _interrupt

logger = logging.getLogger("executorch_ggml")

# The versions of ExecuTorch that the library fits, as in pyproject.toml. Its C++ interface changes between minor ones.
EXECUTORCH_MIN, EXECUTORCH_BELOW = (1, 5), (1, 6)
LIBRARY_VARIABLE = "EXECUTORCH_GGML_LIBRARY"
# In order of dependence. The kernels are the CPU fallback for operators that ggml does not run. They must never be
# loaded from a second path, because registering an operator twice aborts. So they are not bundled.
EXECUTORCH_LIBRARIES = ("executorch", "executorch_threadpool", "executorch_etdump", "executorch_kernels_optimized")

_lock = threading.RLock()
_library: ctypes.CDLL | None = None
_path: Path | None = None
_callbacks: tuple[Any, ...] = ()  # must live as long as the library may call them


def _file_name(stem: str) -> str:
    if sys.platform == "win32":
        return f"{stem}.dll"
    return f"lib{stem}.dylib" if sys.platform == "darwin" else f"lib{stem}.so"


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def executorch_directory() -> Path:
    """The installed `executorch` package, of a version this library was made for. Raises LibraryError."""
    spec = importlib.util.find_spec("executorch")
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    remedy = f"run: pip install 'executorch>={_dotted(EXECUTORCH_MIN)},<{_dotted(EXECUTORCH_BELOW)}'"
    if not places:
        raise LibraryError(f"the package 'executorch' is not installed; {remedy}")
    try:
        version = importlib.metadata.version("executorch")
    except importlib.metadata.PackageNotFoundError:
        logger.warning("executorch has no metadata; assuming that its version fits")
    else:
        found = re.match(r"(\d+)\.(\d+)", version)
        if found is None or not EXECUTORCH_MIN <= (int(found[1]), int(found[2])) < EXECUTORCH_BELOW:
            raise LibraryError(
                f"executorch {version} is installed, but its C++ interface changes between minor versions and this "
                f"package is built for {_dotted(EXECUTORCH_MIN)}; {remedy}"
            )
    for place in places:
        if (Path(place) / "lib" / _file_name("executorch")).exists():
            return Path(place)
    raise LibraryError(
        f"executorch in {places[0]} has no lib/{_file_name('executorch')}; the wheels for this platform may lack it, "
        "or it was installed from source without it"
    )


def candidates() -> list[Path]:
    """Where the library is looked for, in order. A path given by the environment is the only one."""
    name = _file_name("executorch_ggml")
    if override := os.environ.get(LIBRARY_VARIABLE):
        path = Path(override).expanduser()
        return [path / name if path.is_dir() else path]
    return [Path(__file__).resolve().parents[1] / "lib" / name]


def _preload(attempts: list[str]) -> None:
    directory = executorch_directory() / "lib"
    for stem in EXECUTORCH_LIBRARIES:
        path = directory / _file_name(stem)
        try:
            ctypes.CDLL(str(path))
        except OSError as failure:
            if stem == "executorch":
                raise LibraryError(f"the ExecuTorch runtime cannot be loaded: {failure}") from failure
            attempts.append(f"{path}: {failure}")  # ours may do without; if not, its own failure tells


def _open(path: Path) -> ctypes.CDLL:
    """Raises OSError with a reason."""
    if not path.exists():
        raise OSError("there is no such file")
    library = ctypes.CDLL(str(path))
    try:
        library.etggml_abi_version.restype = ctypes.c_uint32
        abi = int(library.etggml_abi_version())
    except AttributeError as failure:
        raise OSError("it is not libexecutorch_ggml: it has no etggml_abi_version") from failure
    if abi != _abi.ABI_VERSION:
        raise OSError(
            f"it has ABI version {abi}, this Python package needs {_abi.ABI_VERSION}: they are of different versions"
        )
    missing = _abi.bind(library)
    if missing:
        raise OSError(f"it lacks {', '.join(missing)}: it is of another version than this Python package")
    return library


def _load() -> tuple[ctypes.CDLL, Path]:
    attempts: list[str] = []
    _preload(attempts)
    for path in candidates():
        try:
            return _open(path), path
        except OSError as failure:
            attempts.append(f"{path}: {failure}")
    tried = "\n  ".join(attempts)
    raise LibraryError(
        f"libexecutorch_ggml cannot be loaded. Tried:\n  {tried}\n"
        f"Install a wheel for this platform (pip install executorch-ggml), build it (pip install -e .), or set "
        f"{LIBRARY_VARIABLE} to the library."
    )


def library() -> ctypes.CDLL:
    """The library, loaded on the first call, prototypes declared and its log routed to the logger "executorch_ggml".

    Loading also registers the backend "GgmlBackend" with ExecuTorch's runtime. Raises LibraryError with every path
    tried.
    """
    global _library, _path
    if _library is None:
        with _lock:
            if _library is None:
                loaded, _path = _load()
                _set_callbacks(loaded)
                logger.debug("loaded %s", _path)
                _library = loaded
    _interrupt.arm()
    return _library


def library_path() -> Path:
    """Where the loaded library lies (loads it when necessary)."""
    library()
    assert _path is not None
    return _path


def _renew_lock() -> None:
    """In a forked child: a thread that it does not have may have been loading."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


@_interrupt.callback
def _forward(level: int, message: bytes | None, _user: object) -> None:
    # An exception cannot leave a callback. A handler that fails is logging's business. The other exceptions are a
    # signal's.
    try:
        if message is not None and logger.isEnabledFor(level):
            logger.log(level, "%s", message.decode("utf-8", "replace").rstrip())
    except BaseException as raised:
        _interrupt.keep(raised)


def _set_callbacks(loaded: ctypes.CDLL) -> None:
    global _callbacks
    log, interrupt = _abi.LogFn(_forward), _abi.InterruptFn(_interrupt.look)
    _callbacks = (log, interrupt)
    loaded.etggml_set_log(log, None)
    loaded.etggml_set_interrupt(interrupt, ctypes.byref(_interrupt.stop), None)
    # Threads of the library outlive the interpreter; they must not call into it then.
    atexit.register(loaded.etggml_set_interrupt, _abi.InterruptFn(0), None, None)
    atexit.register(loaded.etggml_set_log, _abi.LogFn(0), None)


def check(status: int) -> None:
    """Raises the exception for `status` with the library's message; returns when it is 0.

    An exception of a signal's handler during the call comes first.
    """
    if _interrupt.kept is not None:
        _interrupt.raise_kept()
    if status != 0:
        _exit.hold()
        message = library().etggml_last_error()
        raise error_for(status, message.decode("utf-8", "replace") if message else "")


def take_json(function_name: str, *arguments: Any) -> Any:
    """Calls a function with `char **json` as its last parameter; returns the parsed value."""
    lib = library()
    pointer = ctypes.c_void_p()
    check(getattr(lib, function_name)(*arguments, ctypes.byref(pointer)))
    try:
        return json.loads(ctypes.string_at(pointer.value or 0).decode("utf-8", "replace"))
    finally:
        lib.etggml_string_free(pointer)


def options_json(options: dict[str, Any]) -> bytes | None:
    """Options as the C interface takes them; entries that are None are left to their defaults."""
    given = {key: value for key, value in options.items() if value is not None}
    for key, value in given.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidArgumentError(f"option {key!r} must be a finite number, not {value}")
        try:
            json.dumps(value, ensure_ascii=False, default=_number).encode()
        except UnicodeEncodeError:
            raise InvalidArgumentError(f"option {key!r} must be text that UTF-8 can encode: {value!r:.60}") from None
        except (TypeError, ValueError, RecursionError) as failure:
            raise InvalidArgumentError(f"option {key!r} cannot be {value!r:.60}: {failure}") from None
    return json.dumps(given, default=_number).encode() if given else None


def _number(value: Any) -> Any:
    """A numpy number as Python's."""
    item = getattr(value, "item", None)
    if item is None or getattr(value, "ndim", 0) != 0:
        raise TypeError(f"{type(value).__name__} is not a number, a text or a truth value")
    return item()


def path_bytes(path: str | os.PathLike[str]) -> bytes:
    """A path for the C interface. Raises InvalidArgumentError on an embedded NUL, at which C would cut it."""
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise InvalidArgumentError(f"the path {os.fspath(path)!r:.60} contains a NUL character")
    return encoded


def name_bytes(name: str, what: str) -> bytes:
    """A name for the C interface. Raises InvalidArgumentError for a name that C would cut or misread."""
    if not isinstance(name, str):
        raise InvalidArgumentError(f"{what} {name!r:.60} is no name")
    if "\0" in name:
        raise InvalidArgumentError(f"{what} {name!r:.60} contains a NUL character")
    return name.encode("utf-8", "replace")
