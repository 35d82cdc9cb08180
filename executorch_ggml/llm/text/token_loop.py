"""The native token loop: one call of the library a token, no logits in Python unless asked for."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from executorch_ggml.errors import GgmlError
from executorch_ggml.runtime import _arrays, _interrupt, _load
from executorch_ggml.runtime._callback import Progress, ProgressCallback

from .sampling import Sampling
from .token_ids import token_ids

if TYPE_CHECKING:
    from executorch_ggml.runtime.program import Program


class TokenLoop:
    """A sequence of tokens on a program's method ``(input_ids int64 [1, n], positions int64 [n]) -> logits``.

    Several loops may use one program in turn; each call on another one makes this one run its sequence again.

    Args:
        program: a loaded program.
        sampling: how tokens are chosen; the most likely if missing.
        method: the method to run.
        max_chunk: tokens run at once, 0 = as many as the method takes.

    Raises:
        UnsupportedError: a method of another shape.
    """

    def __init__(
        self, program: Program, sampling: Sampling | None = None, *, method: str = "forward", max_chunk: int = 0
    ) -> None:
        self._library = _load.library()
        self._program = program.handle  # the library's loop refers to it
        self._token = ctypes.c_int32()
        self._token_ref = ctypes.byref(self._token)
        self.tokens: list[int] = []
        """the sequence; the last token may not have been run yet"""
        pointer = ctypes.c_void_p()
        options = (sampling or Sampling()).options(method=method, max_chunk=max_chunk)
        _load.check(self._library.etggml_generator_create(self._program.pointer, options, ctypes.byref(pointer)))
        self._pointer: ctypes.c_void_p | None = pointer
        self._finalizer = weakref.finalize(self, self._library.etggml_generator_free, ctypes.c_void_p(pointer.value))
        self._finalizer.atexit = False  # a daemon thread may still be decoding in it when the interpreter ends

    @property
    def _handle(self) -> ctypes.c_void_p:
        if self._pointer is None:
            raise GgmlError("the token loop was closed")
        return self._pointer

    def feed(self, tokens: Sequence[int], progress: Progress | None = None) -> None:
        """Appends tokens and runs them; after an error the sequence is unchanged.

        Args:
            tokens: their ids.
            progress: called with the fraction done; returning False cancels (CancelledError).

        Raises:
            ValueRangeError: token ids that the model does not have, or a sequence that does not fit the cache. Nothing
                has been run then.
        """
        handle = self._handle
        ids = token_ids(tokens, "tokens")
        array = (ctypes.c_int32 * len(ids))(*ids)
        callback = ProgressCallback(progress)
        callback.check(self._library.etggml_generator_feed(handle, array, len(ids), callback.c, None))
        self.tokens += ids

    def next(self, allowed: npt.NDArray[np.uint32] | None = None) -> int:
        """The next token, appended to the sequence.

        Args:
            allowed: one bit for each token that may be chosen, token i in bit i % 32 of word i / 32. None: all.

        Raises:
            ValueRangeError: the cache is full, or no token of the model is allowed.
        """
        _interrupt.arm()
        if allowed is None:
            status = self._library.etggml_generator_next(self._handle, self._token_ref)
        else:
            bits = np.ascontiguousarray(allowed, np.uint32)
            words = bits.ctypes.data_as(ctypes.POINTER(ctypes.c_uint32))
            status = self._library.etggml_generator_next_allowed(self._handle, words, bits.size, self._token_ref)
        if status:
            _load.check(status)
        token = self._token.value
        self.tokens.append(token)
        return token

    def rewind(self, n: int) -> None:
        """Forgets everything after the first n tokens."""
        _load.check(self._library.etggml_generator_rewind(self._handle, n))
        del self.tokens[n:]

    def logits(self, *, copy: bool = True) -> npt.NDArray[np.float32]:
        """The current logits [vocab]: those after the last token that was run.

        copy=False: a read-only view of where they are, valid until the loop or its program is used again. A loop that
        looks at them for every token gets them with the token from its second step on.
        """
        pointer, count = ctypes.POINTER(ctypes.c_float)(), ctypes.c_size_t()
        status = self._library.etggml_generator_logits(self._handle, ctypes.byref(pointer), ctypes.byref(count))
        _load.check(status)
        return _arrays.view(pointer, count.value, owner=self, copy=copy)

    @property
    def position(self) -> int:
        """Tokens in the sequence, by the library's count."""
        return int(self._library.etggml_generator_position(self._handle))

    def cancel(self) -> None:
        """From any thread: the running call, if any, ends with CancelledError."""
        self._library.etggml_program_cancel(self._program.pointer)

    def close(self) -> None:
        """Frees the native loop; the program stays."""
        self._pointer = None
        self._finalizer()
