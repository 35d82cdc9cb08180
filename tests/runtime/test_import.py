"""What importing does not do, and what happens when the library cannot be loaded."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import executorch_ggml
from executorch_ggml import errors
from executorch_ggml.runtime import _abi, _load

pytestmark = pytest.mark.quick

Run = Callable[[str], str]


def test_importing_the_package_loads_nothing(run_python: Run) -> None:
    out = run_python("""
import sys, executorch_ggml
maps = open("/proc/self/maps").read() if sys.platform == "linux" else ""
print("torch" in sys.modules, "numpy" in sys.modules, "libexecutorch" in maps)
""")
    assert out.split() == ["False", "False", "False"]


def test_runtime_names_do_not_import_torch(run_python: Run) -> None:
    out = run_python("""
import sys
from executorch_ggml import GGUFFile, GGUFModule, Program, register_weights
import executorch_ggml.runtime.check, executorch_ggml.devices, executorch_ggml.host, executorch_ggml.types
import executorch_ggml.speech.transcribe, executorch_ggml.cli.main
maps = open("/proc/self/maps").read() if sys.platform == "linux" else ""
print("torch" in sys.modules, "libexecutorch" in maps)
""")
    assert out.split() == ["False", "False"]


def test_ahead_of_time_names_do_not_load_the_library(run_python: Run) -> None:
    out = run_python("""
import sys
from executorch_ggml import GgmlPartitioner, export_gguf_to_pte, to_edge_rewrite_and_lower
maps = open("/proc/self/maps").read() if sys.platform == "linux" else ""
print("libexecutorch_ggml" in maps)
""")
    assert out.split() == ["False"]


def test_every_exported_name_exists() -> None:
    for name in executorch_ggml.__all__:
        assert getattr(executorch_ggml, name) is not None
    assert set(executorch_ggml.__all__) <= set(dir(executorch_ggml))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        executorch_ggml.nonsense  # noqa: B018


def test_statuses_and_classes_match_the_header() -> None:
    """Every status of the C header has its class, and the numbers agree."""
    header = (Path(__file__).parents[2] / "csrc/include/executorch_ggml.h").read_text()
    enum = header.split("typedef enum etggml_status {")[1].split("}")[0]
    lines = [line.split("/*")[0] for line in enum.splitlines() if " = " in line]
    numbers = {name.strip(): int(value.strip(" ,")) for name, value in (line.split("=") for line in lines)}
    statuses = {name: n for name, n in numbers.items() if n > 0}
    assert set(statuses.values()) == set(errors.BY_STATUS)
    spelled = {cls.status: cls.__name__ for cls in errors.BY_STATUS.values()}
    assert spelled[statuses["ETGGML_OUT_OF_MEMORY"]] == "OutOfMemoryError"
    assert spelled[statuses["ETGGML_BUSY"]] == "BusyError"
    assert spelled[statuses["ETGGML_RANGE"]] == "ValueRangeError"


def test_every_function_of_the_header_is_declared() -> None:
    header = (Path(__file__).parents[2] / "csrc/include/executorch_ggml.h").read_text()
    declared = {
        word.split("(")[0].lstrip("*")
        for line in header.splitlines()
        if line.startswith("ETGGML_API")
        for word in line.split()
        if word.lstrip("*").startswith("etggml_") and "(" in word
    }
    assert len(declared) > 30
    assert declared == {name for name, _, _ in _abi.PROTOTYPES}
    assert f"#define ETGGML_ABI_VERSION {_abi.ABI_VERSION}" in header


def test_versions_agree() -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert f'version = "{executorch_ggml.__version__}"' in project
    assert _load.library().etggml_version().decode() == executorch_ggml.__version__


def test_error_classes_are_what_python_programmers_catch() -> None:
    assert issubclass(errors.ShapeError, ValueError)
    assert issubclass(errors.FileError, OSError)
    assert issubclass(errors.DtypeError, TypeError)
    assert issubclass(errors.OutOfMemoryError, MemoryError)
    error = errors.error_for(2, "model.gguf: gone")
    assert isinstance(error, errors.FileError)
    assert str(error) == "model.gguf: gone"
    assert isinstance(errors.error_for(77, ""), errors.InternalError)


def test_library_given_by_the_environment(run_python: Run, tmp_path: Path) -> None:
    out = run_python(f"""
import os
os.environ["EXECUTORCH_GGML_LIBRARY"] = {str(tmp_path)!r}
from executorch_ggml import GGUFFile, LibraryError
for _ in range(2):
    try:
        GGUFFile("x.gguf")
    except LibraryError as error:
        assert isinstance(error, ImportError)
        print(str(error).replace(chr(10), " "))
""")
    first, second = out.splitlines()
    assert first == second
    assert str(tmp_path / "libexecutorch_ggml") in first
    assert "there is no such file" in first
    assert "EXECUTORCH_GGML_LIBRARY" in first


def test_a_library_that_is_another(run_python: Run) -> None:
    import executorch

    other = Path(next(iter(executorch.__path__))) / "lib" / _load._file_name("executorch")
    out = run_python(f"""
import os
os.environ["EXECUTORCH_GGML_LIBRARY"] = {str(other)!r}
from executorch_ggml import LibraryError
from executorch_ggml.runtime._load import library
try:
    library()
except LibraryError as error:
    print(error)
""")
    assert "it is not libexecutorch_ggml" in out


@pytest.mark.parametrize(
    "minor, rest, accepted", [(-1, ".1", False), (0, ".0", True), (0, ".7+cpu", True), (1, ".0", False), (1, "", False)]
)
def test_executorch_of_another_version(monkeypatch: pytest.MonkeyPatch, minor: int, rest: str, accepted: bool) -> None:
    first, second = _load.EXECUTORCH_MIN
    version = f"{first}.{second + minor}{rest}"
    monkeypatch.setattr("importlib.metadata.version", lambda _name: version)
    if accepted:
        assert _load.executorch_directory().name == "executorch"
    else:
        with pytest.raises(errors.LibraryError, match=rf"executorch {re.escape(version)} is installed.*pip install"):
            _load.executorch_directory()


def test_no_executorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(errors.LibraryError, match="not installed"):
        _load.executorch_directory()


def test_one_libexecutorch_in_the_process(run_python: Run) -> None:
    out = run_python("""
from executorch_ggml.runtime._load import library, library_path
library()
import executorch_ggml.runtime.devices as d
maps = {line.split()[-1] for line in open("/proc/self/maps") if "/" in line}
print(sorted(m.rsplit("/", 1)[1] for m in maps if m.rsplit("/", 1)[1].startswith("libexecutorch.")))
print(d.build_info()["path"] == str(library_path()))
""")
    assert out.split() == ["['libexecutorch.so']", "True"]


def test_c_structures_are_as_long_as_the_compiler_makes_them() -> None:
    """Offsets of the last members, from the header's types on a 64-bit machine."""
    if ctypes.sizeof(ctypes.c_void_p) != 8:
        pytest.skip("64-bit layout")
    assert _abi.Tensor.nbytes.offset == 80
    assert ctypes.sizeof(_abi.Tensor) == 88
    assert _abi.GgufTensor.shard.offset == 80
    assert _abi.GgufKv.nbytes.offset == 40
    assert _abi.TypeInfo.quantized.offset == 32
