"""Our libraries bind to themselves, to ExecuTorch and to the system's, whatever else is in the process."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import re
import sys
from pathlib import Path

import pytest
from elf_symbols import exported
from shared_models import Mlp
from symbols_stub import PREFIX, bindings, stub

from executorch_ggml.runtime._load import library_path

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="LD_DEBUG is glibc's")

# By file name: the C and C++ run-time libraries, the loader, the compiler's.
SYSTEM = re.compile(r"^(lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s|atomic)|ld-linux[^.]*|ld64)[.-].*|^libexecutorch\w*\.so$")

RUN = """
import numpy as np
from executorch_ggml.runtime.program import Program
program = Program({pte!r}, {gguf!r}, threads=2)
result = program(np.ones((2, 8), np.float32))[0]
assert np.allclose(result, np.load({expected!r}), rtol=1e-5, atol=1e-5), result
"""
BEFORE = "import ctypes\nctypes.CDLL({other!r}, mode=ctypes.RTLD_GLOBAL)\n"
FLAGS = "import os, sys\nsys.setdlopenflags(os.RTLD_GLOBAL | os.RTLD_NOW)\n"


@pytest.fixture(scope="module")
def run(mlp: Mlp, tmp_path_factory: pytest.TempPathFactory) -> str:
    import numpy as np

    expected = tmp_path_factory.mktemp("expected") / "result.npy"
    np.save(expected, mlp.reference(np.ones((2, 8), np.float32)))
    return RUN.format(pte=str(mlp.bare_pte), gguf=str(mlp.gguf), expected=str(expected))


@pytest.fixture(scope="module")
def other(run: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With ggml's own name for every function that one of our libraries takes from another of them."""
    folder = tmp_path_factory.mktemp("other")
    names = {name.removeprefix(PREFIX) for _, _, name in bindings(run, folder) if name.startswith(PREFIX)}
    assert {"ggml_init", "ggml_backend_load_all_from_path", "ggml_mul_mat"} <= names
    return stub([*sorted(names), "ggml_backend_cpu_init", "ggml_vec_dot_f32", "ggml_graph_compute"], folder)


def strangers(found: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    ours = str(library_path().parent)
    assert any(to.startswith(ours) and name.startswith(PREFIX) for _, to, name in found)
    assert any("libexecutorch" in to and "register_backend" in name for _, to, name in found)
    return [entry for entry in found if not entry[1].startswith(ours) and not SYSTEM.match(Path(entry[1]).name)]


@pytest.mark.parametrize("how", ["before", "after", "flags", "preload"])
def test_beside_another_ggml(run: str, other: Path, tmp_path: Path, how: str) -> None:
    load, environment = BEFORE.format(other=str(other)), {}
    if how == "before":
        code = load + run
    elif how == "after":
        code = run + load + run
    elif how == "flags":
        code = FLAGS + load + run
    else:
        code, environment = run, {"LD_PRELOAD": str(other)}
    assert strangers(bindings(code, tmp_path, **environment)) == []


@pytest.mark.parametrize("package", ["torch", "_pywhispercpp", "llama_cpp"])
def test_beside_a_package(run: str, tmp_path: Path, package: str) -> None:
    """EXECUTORCH_GGML_TEST_SITE: a directory with packages that are not installed here (pip install --target)."""
    site = os.environ.get("EXECUTORCH_GGML_TEST_SITE", "")
    here = importlib.util.find_spec(package) is not None
    if not here and not (site and importlib.machinery.PathFinder.find_spec(package, [site])):
        pytest.skip(f"{package} is not installed")
    code = f"import sys\nsys.path.append({site!r})\n" + FLAGS + f"import {package}\n" + run
    assert strangers(bindings(code, tmp_path)) == []


def test_a_library_exports_its_interface_only() -> None:
    """What is not exported cannot be taken for another's: also C++ templates, and symbols that a process has once."""
    for library in sorted(library_path().parent.glob("lib*.so")):
        names = exported(library)
        assert names, library
        allowed = (PREFIX, "etggml_", "ggml_backend_init", "ggml_backend_score")
        assert [name for name in names if not name.startswith(allowed)] == [], library


def test_the_loader_finds_ours_first(run: str, tmp_path: Path) -> None:
    """LD_LIBRARY_PATH with other files under our libraries' names: ours lie beside each other and are taken there."""
    for library in library_path().parent.glob("lib*.so"):
        if library.name != library_path().name:
            (tmp_path / library.name).write_bytes(b"not a library")
    found = bindings(run, tmp_path, LD_LIBRARY_PATH=str(tmp_path))
    assert strangers(found) == []
