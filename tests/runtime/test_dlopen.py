"""A C++ program with no ExecuTorch and no ggml headers loads the library and decodes tokens."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from shared_models import TinyLlm

from executorch_ggml.runtime._load import executorch_directory, library_path
from executorch_ggml.runtime.program import Program

ROOT = Path(__file__).resolve().parents[2]
PROMPT, COUNT = [3, 1, 4, 1, 5], 12


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tests/cpp/dlopen_decode.cpp, compiled against nothing but the header beside the library."""
    compiler = os.environ.get("CXX") or shutil.which("c++")
    if compiler is None:
        pytest.skip("there is no C++ compiler")
    include = library_path().parents[1] / "include"
    if not (include / "executorch_ggml.h").is_file():  # a library from a build directory has no header beside it
        include = ROOT / "csrc" / "include"
    target = tmp_path_factory.mktemp("dlopen") / "dlopen_decode"
    source = ROOT / "tests" / "cpp" / "dlopen_decode.cpp"
    command = [compiler, "-std=c++17", "-Wall", "-Werror", f"-I{include}", str(source), "-o", str(target), "-ldl"]
    subprocess.run(command, check=True)
    return target


def run(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ)
    library = library_path()
    if not (library.parents[2] / "executorch" / "lib").is_dir():
        # An editable install: RUNPATH looks for executorch beside our package, where only a real install has it.
        environment["LD_LIBRARY_PATH"] = str(executorch_directory() / "lib")
    command = [str(program), str(library), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)


def test_the_library_describes_itself(program: Path) -> None:
    done = run(program)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_greedy_tokens_are_pythons(program: Path, tiny_llm: TinyLlm) -> None:
    done = run(program, tiny_llm.pte, tiny_llm.gguf, COUNT, *PROMPT)
    assert done.returncode == 0, done.stderr
    tokens = [int(line) for line in done.stdout.split()]

    expected: list[int] = []
    with Program(tiny_llm.pte, tiny_llm.gguf, threads=1) as model:
        feed, position = np.array([PROMPT], np.int64), 0
        while len(expected) < COUNT:
            (logits,) = model.execute("forward", [feed, position + np.arange(feed.shape[1])])
            position += feed.shape[1]
            expected.append(int(logits[0, -1].argmax()))
            feed = np.array([[expected[-1]]], np.int64)
    assert tokens == expected


def test_a_failure_is_a_message_and_an_exit_code(program: Path, tiny_llm: TinyLlm) -> None:
    done = run(program, tiny_llm.pte, tiny_llm.pte, COUNT, *PROMPT)  # a .pte is not a GGUF
    assert done.returncode == 1
    assert str(tiny_llm.pte) in done.stderr
    assert "error 3" in done.stderr  # ETGGML_FORMAT
