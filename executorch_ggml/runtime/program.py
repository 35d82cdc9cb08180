"""Running a `.pte`.

    with Program("model.pte", "model.gguf", threads=4) as program:
        (logits,) = program.execute("forward", [input_ids, positions])

numpy arrays in, numpy arrays out; torch tensors come back when torch tensors are given. torch itself is not needed.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, cast

from executorch_ggml.errors import BusyError, GgmlError, InvalidArgumentError
from executorch_ggml.errors.files import replacing

from . import _abi, _arrays, _exit, _interrupt, _load, _structure
from ._callback import Progress, ProgressCallback
from ._watch import WatchCallback, WatchedValue
from .gguf_file import GGUFFile

_FEW_OUTPUTS = 256


class _Handle:
    """An etggml_program. Results that were not copied hold it."""

    def __init__(self, pointer: int) -> None:
        self.pointer = ctypes.c_void_p(pointer)
        finalizer = weakref.finalize(self, _load.library().etggml_program_free, ctypes.c_void_p(pointer))
        finalizer.atexit = False  # a daemon thread may still be computing in it when the interpreter ends
        _exit.watch(self, _cancel_and_look)


def _cancel_and_look(handle: _Handle) -> bool:
    lib, text = _load.library(), ctypes.c_void_p()
    lib.etggml_program_cancel(handle.pointer)
    busy: bool = lib.etggml_program_info(handle.pointer, ctypes.byref(text)) == BusyError.status
    lib.etggml_string_free(text)
    return busy


class Program:
    """A loaded `.pte`: its methods, its states (KV caches, ...), its plans.

    One call at a time: while one thread is inside, a call from another raises BusyError and changes nothing.

    Args:
        pte: path of the program.
        gguf: path of a GGUF file with the weights, or an open GGUFFile. None when the `.pte` or `data_path` holds them.
            Programs loaded with the same file share the weights in memory.
        device: "cpu", or a name that `devices()` lists.
        threads: compute threads; 0 = physical cores available.
        cache_type: ggml type of KV caches ("f32", "f16", "q8_0", ...; default "f16").
        methods: names to prepare now instead of on their first call.
        data_path: a `.ptd` with weights.
        max_plans: how many prepared graphs are kept (one for each binding of the dynamic dimensions).
        profile: collect times per operation for `stats()`.
        etdump: record ExecuTorch's events for `write_etdump()`.
        progress: called with a fraction while loading. Returning False cancels (CancelledError); an exception of it
            is raised here.

    Raises:
        FileError: a file cannot be read.
        FormatError: a file is malformed.
        BindError: the weights do not fit; `executorch_ggml.check` lists all of them.
        UnsupportedError: the program needs something that this version does not have.
        DeviceError: the device is missing or unusable.
        OutOfMemoryError: memory or threads are refused.
        InvalidArgumentError: an option is wrong.
        LibraryError: the native library cannot be loaded.
    """

    def __init__(
        self,
        pte: str | os.PathLike[str],
        gguf: str | os.PathLike[str] | GGUFFile | None = None,
        *,
        device: str | None = None,
        threads: int | None = None,
        cache_type: str | None = None,
        methods: Sequence[str] | None = None,
        data_path: str | os.PathLike[str] | None = None,
        max_plans: int | None = None,
        profile: bool | None = None,
        etdump: bool | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.path = os.fspath(pte)
        lib = _load.library()
        options = _load.options_json(
            {
                "device": device,
                "threads": threads,
                "cache_type": cache_type or None,
                "methods": list(methods) if methods is not None else None,
                "data_path": _utf8_path(data_path),
                "max_plans": max_plans,
                "profile": profile,
                "etdump": etdump,
            }
        )
        # A path given as such is opened here and closed when the program is loaded: the program keeps the mapping.
        file = gguf if gguf is None or isinstance(gguf, GGUFFile) else GGUFFile(gguf)
        handle = file.handle if file is not None else None
        callback = ProgressCallback(progress)
        pointer = ctypes.c_void_p()
        with _exit.calling():
            status = lib.etggml_program_load(
                _load.path_bytes(pte), handle.pointer if handle is not None else None, options, callback.c, None,
                ctypes.byref(pointer),
            )  # fmt: skip
        if status == 0:  # first, so that nothing leaks should the callback have raised on its last call
            self._handle: _Handle | None = _Handle(cast(int, pointer.value))
        callback.check(status)
        self._lock = threading.Lock()
        self._process = os.getpid()

    @property
    def handle(self) -> _Handle:
        """The open handle. Raises GgmlError after close()."""
        if self._handle is None:
            raise GgmlError(f"{self.path}: the program was closed")
        return self._handle

    def _enter(self) -> _Handle:
        # The library has such a lock of its own. This one also covers copying the results, which live in the program
        # until its next call.
        _exit.hold()
        handle = self.handle
        if not self._lock.acquire(blocking=False) and not self._enter_forked():
            raise BusyError(f"{self.path}: another thread is inside this program; wait for it or load one per thread")
        return handle

    def _enter_forked(self) -> bool:
        """In a forked child the lock may be held by a thread that stayed in the parent; the library knows more then."""
        if self._process == os.getpid():
            return False
        self._lock, self._process = threading.Lock(), os.getpid()
        return self._lock.acquire(blocking=False)

    def execute(self, method: str, inputs: Sequence[Any], *, copy: bool = True) -> list[Any]:
        """Runs a method and returns its outputs.

        Args:
            method: its name.
            inputs: numpy arrays (anything numpy makes an array of), torch tensors, or Python numbers where the method
                takes a number. They may be non-contiguous; dtypes are not converted.
            copy: False returns read-only views of the program's memory, valid until its next call.

        Raises:
            ShapeError: an input has a shape that the method does not take.
            DtypeError: an input has another type.
            ValueRangeError: a value is out of range, such as a token id or a position.
            BusyError: another thread is inside.
            CancelledError: `cancel()` was called.
            DeviceError: the device failed.
            OutOfMemoryError: memory ran out.
            BindError: the method is prepared by this call, and its weights do not fit.
        """
        arguments = _arrays.Inputs(inputs)
        handle = self._enter()
        try:
            return self._run(handle, method, arguments, copy)
        finally:
            self._lock.release()

    def watch(self, method: str, inputs: Sequence[Any], see: Callable[[WatchedValue], None]) -> list[Any]:
        """`execute`, which also shows every value of every delegate as it is computed: for finding the first wrong one.

        Nodes run one by one, by the same kernels as otherwise. `see` is called with the symbols and inputs of a
        delegate and then with its nodes; it must not use the program. Its exception is raised here, after the call.
        """
        arguments = _arrays.Inputs(inputs)
        handle = self._enter()
        callback = WatchCallback(see)
        lib = _load.library()
        try:
            _load.check(lib.etggml_program_watch(handle.pointer, callback.c, None))
            try:
                return self._run(handle, method, arguments, copy=True)
            finally:
                _load.check(lib.etggml_program_watch(handle.pointer, _abi.ValueFn(0), None))
                callback.check()
        finally:
            self._lock.release()

    @staticmethod
    def _run(handle: _Handle, method: str, arguments: _arrays.Inputs, copy: bool) -> list[Any]:
        """The call itself, inside the lock."""
        room = _FEW_OUTPUTS
        while True:
            results = (_abi.Tensor * room)()
            count = ctypes.c_size_t(room)
            status = _load.library().etggml_program_execute(
                handle.pointer,
                _load.name_bytes(method, "method"),
                arguments.array,
                arguments.count,
                results,
                ctypes.byref(count),
            )
            if count.value <= room:
                break
            room = count.value  # nothing was computed yet
        _load.check(status)
        return [_arrays.output(results[i], handle, as_torch=arguments.any_torch, copy=copy) for i in range(count.value)]

    def __call__(self, *inputs: Any) -> list[Any]:
        """`execute("forward", inputs)`"""
        return self.execute("forward", inputs)

    def run_named(self, *inputs: Any, method: str = "forward", copy: bool = True) -> Any:
        """Runs a method and returns its results as the model does: dictionaries, lists, tuples, a lone tensor.

        Named tuples come back as dictionaries of their fields, containers of other types as tuples. A `.pte` that does
        not say how results were arranged gives a list, as `execute` does. Arguments and errors: see `execute`.
        """
        results = self.execute(method, inputs, copy=copy)
        found = next(m for m in self._info()["methods"] if m["name"] == method)
        return _structure.rebuilt(found.get("result_structure"), results)

    def info(self) -> dict[str, Any]:
        """Methods with their inputs and outputs, device, threads, states, weights, plans.

        Results in a dictionary have its keys for names: "logits", "hidden.0". Others are "output 0", and so on.
        """
        info = self._info()
        for method in info["methods"]:
            _structure.name_outputs(method.pop("result_structure", None), method["outputs"])
        return info

    def _info(self) -> dict[str, Any]:
        return cast("dict[str, Any]", self._json("etggml_program_info"))

    def stats(self) -> dict[str, Any]:
        """Times per phase, times per operation (with profile=True or GGML_PROFILE=1), plan cache hits."""
        return cast("dict[str, Any]", self._json("etggml_program_stats"))

    def write_etdump(self, path: str | os.PathLike[str]) -> None:
        """Writes the events recorded since loading (with etdump=True) for ExecuTorch's Inspector, and starts anew.

        The file appears complete or not at all. Raises FileError when it cannot be written, InvalidArgumentError for a
        path that holds weights.
        """
        handle = self._enter()
        try:
            with replacing(path, (self.path,)) as temporary:
                _load.check(_load.library().etggml_program_etdump(handle.pointer, _load.path_bytes(temporary)))
        finally:
            self._lock.release()

    def _json(self, function: str) -> Any:
        handle = self._enter()
        try:
            return _load.take_json(function, handle.pointer)
        finally:
            self._lock.release()

    def reset(self) -> None:
        """Sets every state back to its initial value: a new conversation."""
        handle = self._enter()
        try:
            _load.check(_load.library().etggml_program_reset(handle.pointer))
        finally:
            self._lock.release()

    def cancel(self) -> None:
        """From any thread: the running call, if any, ends with CancelledError. States it has written stay written."""
        handle = self._handle
        if handle is not None:
            _load.library().etggml_program_cancel(handle.pointer)

    def close(self) -> None:
        """Drops the program; its memory is freed when no result made with copy=False is left.

        Raises BusyError while another thread is inside.
        """
        if self._handle is None:
            return
        self._enter()
        self._handle = None
        self._lock.release()
        _interrupt.raise_kept()

    @property
    def closed(self) -> bool:
        return self._handle is None

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Program({self.path!r}{', closed' if self.closed else ''})"


@dataclass(frozen=True)
class Payload:
    """One delegate payload of a `.pte`: the graph in GGIR (see schema/ggml_ir.fbs), unverified bytes."""

    method: str
    index: int
    """within its method, from 0"""
    data: bytes


def _utf8_path(path: str | os.PathLike[str] | None) -> str | None:
    """A path that travels in options, which are JSON."""
    if path is None:
        return None
    try:
        return os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidArgumentError(f"data_path {os.fspath(path)!r}: the name is not UTF-8; give a link to it") from None


def payloads(pte: str | os.PathLike[str]) -> list[Payload]:
    """The payloads of our delegates in a `.pte`, in order of method and appearance."""
    found: list[Payload] = []
    raised: list[BaseException] = []

    @_interrupt.callback
    def collect(method: bytes, index: int, data: int, size: int, _user: object) -> None:
        try:
            found.append(Payload(method.decode("utf-8", "replace"), index, ctypes.string_at(data, size)))
        except BaseException as failure:
            raised.append(failure)

    callback = _abi.PayloadFn(collect)
    with _exit.calling():
        status = _load.library().etggml_program_payloads(_load.path_bytes(pte), callback, None)
    if raised:
        raise raised[0]
    _load.check(status)
    return found
