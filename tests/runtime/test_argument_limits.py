"""Arguments that no one gives by design: refused by name, with a typed error."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shared_models import Mlp, TinyLlm

from executorch_ggml.errors import InvalidArgumentError, ValueRangeError
from executorch_ggml.llm.text.generate import encode_prompt
from executorch_ggml.llm.text.sampling import Sampling, sample
from executorch_ggml.llm.text.token_loop import TokenLoop
from executorch_ggml.runtime import _abi, _load
from executorch_ggml.runtime.program import Program

X = np.ones((2, 8), np.float32)


def deep(key: str, depth: int, brackets: str = "[]") -> bytes:
    return f'{{"{key}": {brackets[0] * depth}{brackets[1] * depth}}}'.encode()


def entries(mlp: Mlp) -> dict[str, tuple[str, Callable[[bytes], int]]]:
    lib, out = _load.library(), ctypes.c_void_p()
    logits, token = (ctypes.c_float * 3)(1, 2, 3), ctypes.c_int32()
    pte, gguf = str(mlp.pte).encode(), str(mlp.gguf).encode()
    none = _abi.ProgressFn(0)
    return {
        "load": ("device", lambda o: lib.etggml_program_load(pte, None, o, none, None, ctypes.byref(out))),
        "gguf": ("max_string", lambda o: lib.etggml_gguf_open(gguf, o, ctypes.byref(out))),
        "sample": ("top_k", lambda o: lib.etggml_sample(logits, 3, None, 0, o, ctypes.byref(token))),
    }


@pytest.mark.parametrize("entry", ["load", "gguf", "sample"])
def test_options_nested_deeply(mlp: Mlp, entry: str) -> None:
    key, call = entries(mlp)[entry]
    for options in (deep(key, 200_000), deep(key, 33), b'{"' + key.encode() + b'": ' + b'{"a":' * 100_000):
        assert call(options) == InvalidArgumentError.status
        assert b"levels deep" in _load.library().etggml_last_error()
    # Brackets in a text are no levels.
    assert call(f'{{"{key}": "{"[" * 500}"}}'.encode()) != 0
    assert b"levels deep" not in _load.library().etggml_last_error()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_options_that_are_not_finite(number: float) -> None:
    with pytest.raises(InvalidArgumentError, match="'temperature' must be a finite number"):
        sample(np.zeros(3, np.float32), sampling=Sampling(temperature=number))


def test_a_data_path_that_is_no_utf8(mlp: Mlp) -> None:
    with pytest.raises(InvalidArgumentError, match=r"data_path .* not UTF-8"):
        Program(mlp.pte, data_path="/tmp/\udcff.ptd")


@pytest.mark.parametrize("name", ["forward\0x", "\0"])
def test_a_method_with_a_nul(mlp: Mlp, name: str) -> None:
    with Program(mlp.pte, threads=1) as program:
        with pytest.raises(InvalidArgumentError, match="NUL"):
            program.execute(name, [X])
        with pytest.raises(InvalidArgumentError, match="NUL"):
            program.watch(name, [X], lambda _: None)


@pytest.mark.parametrize("token", [2**31, 2**40, -1, -(2**63)])
def test_a_token_is_named_as_given(tiny_llm: TinyLlm, token: int) -> None:
    loop = TokenLoop(Program(tiny_llm.pte, tiny_llm.gguf, threads=1))
    with pytest.raises(ValueRangeError, match=rf"\b1 .*{token}|{token}"):
        loop.feed([1, token])
    assert loop.tokens == []


@pytest.mark.parametrize("prompt", [[1.7], [1, 2.0], ["1"], [None]])
def test_prompts_are_integers(prompt: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="token ids"):
        encode_prompt(None, prompt)
    assert encode_prompt(None, np.array([1, 2], np.int32)) == [1, 2]  # type: ignore[arg-type]


def test_an_etdump_is_whole_or_not_there(mlp: Mlp, tmp_path: Path) -> None:
    path = tmp_path / "dump.etdp"
    path.write_bytes(b"before")
    with Program(mlp.pte, threads=1, etdump=True) as program:
        program(X)
        program.write_etdump(path)
    assert path.read_bytes() != b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["dump.etdp"]
