"""Settings, requirements and failures of the build backend."""

from __future__ import annotations

import ast
import os
import stat
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def script(directory: Path, name: str, body: str) -> None:
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"varient": "cpu"}, "unknown config setting 'varient'"),
        ({"--global-option": "x"}, "unknown config setting '--global-option'"),
        ({"cmake.define.": "x"}, "unknown config setting 'cmake.define.'"),
        ({"cmake.define.A B": "x"}, "unknown config setting"),
        ({"cmake.define.<NAME>": "x"}, "unknown config setting"),
        ({"defines": "x"}, "unknown config setting 'defines'"),
        ({"jobs": ["1", "2"]}, "given 2 times"),
        ({"jobs": "0"}, "a positive number"),
        ({"jobs": "many"}, "a positive number"),
        ({"cpu": "fast"}, "portable or native"),
        ({"variant": "abacus"}, "wheels/ has cpu"),
        ({"variant": "../wheels/cpu"}, "unknown variant"),
    ],
)
@pytest.mark.parametrize(
    "hook", ["get_requires_for_build_wheel", "get_requires_for_build_sdist", "get_requires_for_build_editable"]
)
def test_bad_settings_are_refused(backend: ModuleType, hook: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(backend.BuildError, match=message):
        getattr(backend, hook)(settings)


def test_an_unknown_setting_is_answered_with_the_known_ones(backend: ModuleType, tmp_path: Path) -> None:
    for call in (backend.build_wheel, backend.build_editable, backend.build_sdist):
        with pytest.raises(backend.BuildError) as caught:
            call(str(tmp_path), {"colour": "red"})
        for name in ("variant", "cpu", "build-dir", "jobs", "cmake.define.<NAME>"):
            assert name in str(caught.value)


def test_good_settings(backend: ModuleType) -> None:
    got = backend._settings({"jobs": "3", "cmake.define.GGML_CUDA": "ON", "build-dir": "b"}, "native")
    assert got.pop("wheel")["package"] == "executorch_ggml"
    assert got == {"variant": "cpu", "cpu": "native", "build-dir": "b", "jobs": "3", "defines": {"GGML_CUDA": "ON"}}


def test_only_missing_tools_are_required(backend: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: object())
    assert backend.get_requires_for_build_wheel() == ["cmake>=3.25", "ninja"]
    script(tools, "ninja", "echo 1.11.1")
    script(tools, "cmake", "echo cmake version 3.24.9")
    assert backend.get_requires_for_build_wheel() == ["cmake>=3.25"]
    script(tools, "cmake", "echo cmake version 3.25.0")
    assert backend.get_requires_for_build_wheel() == []
    script(tools, "cmake", "echo 'ModuleNotFoundError: cmake' >&2; exit 1")  # another environment's entry point
    assert backend.get_requires_for_build_wheel() == ["cmake>=3.25"]
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: None)
    assert "pip" in backend.get_requires_for_build_wheel()
    assert backend.get_requires_for_build_sdist() == []
    assert "nvidia-cublas==13.0.*" in backend.get_requires_for_build_wheel({"variant": "cuda"})


def test_a_failed_build_fails_with_the_compilers_last_lines(
    backend: ModuleType, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    compiler = "for i in $(seq 100); do echo line $i; done; echo 'x.cpp:7: error: no such thing'; exit 3"
    script(tools, "cmake", f'case "$1" in --build) {compiler};; esac')
    script(tools, "ninja", "exit 0")
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    with pytest.raises(backend.BuildError) as caught:
        backend.build_wheel(str(tmp_path), {"build-dir": "b"})
    message = str(caught.value)
    assert "failed (3)" in message
    assert "x.cpp:7: error: no such thing" in message
    assert "line 100" in message
    assert "line 60\n" not in message
    log = tree / "b" / "build.log"
    assert str(log) in message
    assert "line 60\n" in log.read_text()
    assert not list(tmp_path.glob("*.whl"))


def test_missing_tools_are_named(backend: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(backend.BuildError, match=r"cmake >= 3\.25 and ninja are needed"):
        backend.build_wheel(str(tmp_path), {})


def test_a_variant_is_for_its_platforms(backend: ModuleType, tree: Path, tmp_path: Path) -> None:
    path = tree / "wheels" / "cpu.toml"
    path.write_text(path.read_text().replace("linux-x86_64", "plan9-mips"))
    if "linux-aarch64" in f"{sys.platform}-{os.uname().machine}":
        pytest.skip("still listed")
    with pytest.raises(backend.BuildError, match="plan9-mips"):
        backend.build_wheel(str(tmp_path), {})


def test_jobs_respect_affinity_and_memory(backend: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend.os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert 1 <= backend._jobs() <= 64
    monkeypatch.setattr(backend.os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert backend._jobs() == 1
    monkeypatch.setattr(backend.os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(backend.os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1_000_000}[name])
    assert backend._jobs() <= 2  # 4 GB


def test_the_backend_is_alone() -> None:
    """It imports nothing but the standard library (tomli before 3.11)."""
    source = (ROOT / "build_backend.py").read_text()
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    assert imported - set(sys.stdlib_module_names) <= {"tomli"}


def test_pytest_collects_this_folder() -> None:
    """Its own default leaves out folders that are called build."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--collect-only", "tests", "-k", "test_pytest_collects_this_folder"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "tests/build/test_build_settings.py" in done.stdout
