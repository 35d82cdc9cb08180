"""Wheels and sdists: what is in them, and that the same tree gives the same bytes."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from elf_file import write_elf

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def compiled(backend: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Replaces the compilation by an installation of two small ELF files; lists the settings of each call."""
    calls: list[dict[str, Any]] = []

    def install(settings: dict[str, Any], prefix: Path, strip: bool) -> None:
        calls.append({"settings": settings, "prefix": prefix, "strip": strip})
        write_elf(prefix / "lib" / "libexecutorch_ggml.so", {"libc.so.6": ["GLIBC_2.28"], "libexecutorch.so": []})
        write_elf(prefix / "bin" / "benchmark_llm", {"libc.so.6": ["GLIBC_2.29"]})
        (prefix / "ir").mkdir(exist_ok=True)
        (prefix / "ir" / "_ggml_ir.py").write_text("generated = True\n")
        (prefix / "licences").mkdir(exist_ok=True)
        (prefix / "licences" / "LICENSE").write_text("MIT\n")

    monkeypatch.setattr(backend, "_compile", install)
    return calls


def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def check_record(wheel: Path) -> None:
    """Every file is listed with its hash and size, and nothing else is."""
    with zipfile.ZipFile(wheel) as archive:
        record = next(name for name in archive.namelist() if name.endswith("/RECORD"))
        rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(archive.read(record).decode()))}
        assert set(rows) == set(archive.namelist())
        assert rows.pop(record) == ["", ""]
        for name, (digest, size) in rows.items():
            content = archive.read(name)
            expected = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            assert digest == f"sha256={expected}"
            assert int(size) == len(content)


def test_wheel(backend: ModuleType, compiled: list[dict[str, Any]], tmp_path: Path) -> None:
    name = backend.build_wheel(str(tmp_path), {})
    assert name.endswith("-py3-none-manylinux_2_29_x86_64.whl")
    wheel = tmp_path / name
    info = f"{'-'.join(name.split('-')[:2])}.dist-info"
    assert set(names(wheel)) == {
        "executorch_ggml/__init__.py",
        "executorch_ggml/ir/_ggml_ir.py",
        "executorch_ggml/bin/benchmark_llm",
        "executorch_ggml/lib/libexecutorch_ggml.so",
        "executorch_ggml/licences/LICENSE",
        "executorch_ggml/ops/basic.py",
        "executorch_ggml/py.typed",
        *(f"{info}/{file}" for file in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")),
    }
    check_record(wheel)
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("executorch_ggml/ir/_ggml_ir.py") == b"generated = True\n"  # the build's, not the tree's
        assert "Tag: py3-none-manylinux_2_29_x86_64\n" in archive.read(f"{info}/WHEEL").decode()
        assert "Root-Is-Purelib: false\n" in archive.read(f"{info}/WHEEL").decode()
        modes = {entry.filename: entry.external_attr >> 16 & 0o7777 for entry in archive.infolist()}
    assert modes["executorch_ggml/bin/benchmark_llm"] == 0o755
    assert modes["executorch_ggml/lib/libexecutorch_ggml.so"] == 0o755
    assert modes["executorch_ggml/__init__.py"] == 0o644
    assert compiled[0]["settings"]["cpu"] == "portable"
    assert compiled[0]["strip"] is True


def test_wheel_metadata_is_what_was_prepared(
    backend: ModuleType, compiled: list[dict[str, Any]], tmp_path: Path
) -> None:
    prepared = tmp_path / backend.prepare_metadata_for_build_wheel(str(tmp_path))
    with zipfile.ZipFile(tmp_path / backend.build_wheel(str(tmp_path), {})) as archive:
        for path in prepared.rglob("*"):
            if path.is_file():
                assert archive.read(path.relative_to(tmp_path).as_posix()) == path.read_bytes()


def test_wheel_is_reproducible(
    backend: ModuleType, compiled: list[dict[str, Any]], tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    first = tmp_path / "1" / backend.build_wheel(str(tmp_path / "1"), {})
    (tree / "executorch_ggml" / "__init__.py").chmod(0o600)
    os.utime(tree / "executorch_ggml" / "__init__.py", (1, 1))
    second = tmp_path / "2" / backend.build_wheel(str(tmp_path / "2"), {})
    assert first.read_bytes() == second.read_bytes()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    third = tmp_path / "2" / backend.build_wheel(str(tmp_path / "2"), {})
    with zipfile.ZipFile(third) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(2001, 9, 9, 1, 46, 40)}


def test_a_native_wheel_says_so(backend: ModuleType, compiled: list[dict[str, Any]], tmp_path: Path) -> None:
    assert backend.build_wheel(str(tmp_path), {"cpu": "native"}).endswith("-py3-none-linux_x86_64.whl")
    assert compiled[0]["settings"]["cpu"] == "native"


def test_editable(backend: ModuleType, compiled: list[dict[str, Any]], tree: Path, tmp_path: Path) -> None:
    name = backend.build_editable(str(tmp_path), {"build-dir": "build/dev"})
    assert name.endswith("-py3-none-any.whl")
    check_record(tmp_path / name)
    with zipfile.ZipFile(tmp_path / name) as archive:
        (pth,) = (entry for entry in archive.namelist() if entry.endswith(".pth"))
        assert archive.read(pth).decode() == f"{tree}\n"
        assert not any(entry.endswith((".py", ".so")) for entry in archive.namelist())
    assert compiled[0]["prefix"] == tree / "executorch_ggml"
    assert compiled[0]["settings"]["cpu"] == "native"
    assert (tree / "executorch_ggml" / "lib" / "libexecutorch_ggml.so").is_file()


def test_a_plugin_wheel_holds_the_plugin_only(
    backend: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = {"libc.so.6": ["GLIBC_2.28"], "libetggml-base.so": [], "libcuda.so.1": [], "libcudart.so.13": []}

    def install(settings: dict[str, Any], prefix: Path, strip: bool) -> None:
        assert settings["wheel"]["cmake"]["EXECUTORCH_GGML_PLUGIN"] == "cuda"
        assert strip
        write_elf(prefix / "lib" / "libggml-cuda.so", needs)
        (prefix / "lib" / "ggml-cuda.json").write_text("{}")

    monkeypatch.setattr(backend, "_compile", install)
    name = backend.build_wheel(str(tmp_path), {"variant": "cuda"})
    assert name.startswith("executorch_ggml_cuda-")
    assert name.endswith("-py3-none-manylinux_2_28_x86_64.whl")
    check_record(tmp_path / name)
    inside = {path for path in names(tmp_path / name) if ".dist-info/" not in path}
    assert inside == {
        f"executorch_ggml_cuda/{path}" for path in ("__init__.py", "lib/ggml-cuda.json", "lib/libggml-cuda.so")
    }


def test_sdist_holds_tracked_files_only(
    backend: ModuleType, tree: Path, commit: Callable[..., None], tmp_path: Path
) -> None:
    (tree / "executorch_ggml" / "untracked.py").write_text("")
    (tree / ".editor").mkdir()
    (tree / ".editor" / "settings").write_text("")
    (tree / "stray.bin").write_text("")
    tracked = ["pyproject.toml", "build_backend.py", "README.md", "LICENSE", "CMakeLists.txt", "wheels"]
    commit(*tracked, "executorch_ggml/__init__.py", "executorch_ggml/ops/basic.py", ".editor/settings", "stray.bin")
    name = backend.build_sdist(str(tmp_path), {})
    base = name.removesuffix(".tar.gz")
    with tarfile.open(tmp_path / name) as archive:
        files = {member.name.removeprefix(f"{base}/") for member in archive.getmembers()}
        assert all(member.isfile() and member.uid == 0 and member.uname == "" for member in archive.getmembers())
    # Tracked and of a kind that belongs into an sdist, and the two that sdists have on top.
    assert files == {
        *("pyproject.toml", "build_backend.py", "README.md", "LICENSE", "CMakeLists.txt"),
        *(f"wheels/{variant}.toml" for variant in ("cpu", "cuda", "rpc", "vulkan")),
        *("executorch_ggml/__init__.py", "executorch_ggml/ops/basic.py", "MANIFEST", "PKG-INFO"),
    }


def test_sdist_is_reproducible(backend: ModuleType, tree: Path, commit: Callable[..., None], tmp_path: Path) -> None:
    commit(".")
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    first = tmp_path / "1" / backend.build_sdist(str(tmp_path / "1"), {})
    for path in tree.rglob("*.py"):
        os.utime(path, (5, 5))
        path.chmod(0o640)
    second = tmp_path / "2" / backend.build_sdist(str(tmp_path / "2"), {})
    assert first.read_bytes() == second.read_bytes()


def test_sdist_of_an_unpacked_sdist_is_the_same(
    backend: ModuleType, commit: Callable[..., None], tmp_path: Path
) -> None:
    commit(".")
    name = backend.build_sdist(str(tmp_path), {})
    with tarfile.open(tmp_path / name) as archive:
        archive.extractall(tmp_path / "out")
    unpacked = tmp_path / "out" / name.removesuffix(".tar.gz")
    (unpacked / "executorch_ggml" / "added.py").write_text("")  # not in the list that came with it
    code = f"import build_backend; print(build_backend.build_sdist({str(tmp_path / 'out')!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=unpacked, stdout=subprocess.PIPE, text=True, check=True)
    assert (tmp_path / "out" / done.stdout.strip()).read_bytes() == (tmp_path / name).read_bytes()


def test_sdist_needs_to_know_its_files(backend: ModuleType, tree: Path, commit: Callable[..., None]) -> None:
    with pytest.raises(backend.BuildError, match="neither a git checkout nor an unpacked sdist"):
        backend.build_sdist(str(tree), {})
    commit("LICENSE")
    with pytest.raises(backend.BuildError, match=r"tracks no pyproject\.toml"):
        backend.build_sdist(str(tree), {})


def test_what_the_front_pages_link_to_is_in_an_sdist(backend: ModuleType) -> None:
    for page in ("README.md", "CONTRIBUTING.md"):
        links = re.findall(r"\]\(([^)#:\s]+)\)", (ROOT / page).read_text(encoding="utf-8"))
        assert len(links) > 5
        missing = [link for link in links if not (ROOT / link).exists() or not backend.SDIST.match(link)]
        assert (page, missing) == (page, [])
