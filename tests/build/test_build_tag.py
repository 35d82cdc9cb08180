"""The platform tag comes from what the libraries need."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
from elf_file import AARCH64, write_elf


@pytest.mark.parametrize(
    ("needs", "tag"),
    [
        ({"libc.so.6": ["GLIBC_2.2.5"]}, "manylinux_2_17_x86_64"),  # nothing older has a tag of its own
        ({"libc.so.6": ["GLIBC_2.28", "GLIBC_2.3.4"]}, "manylinux_2_28_x86_64"),
        ({"libc.so.6": ["GLIBC_2.9", "GLIBC_2.34"]}, "manylinux_2_34_x86_64"),
        ({"libstdc++.so.6": ["GLIBCXX_3.4.30", "CXXABI_1.3.13"], "libc.so.6": ["GLIBC_2.28"]}, "manylinux_2_35_x86_64"),
        ({"libstdc++.so.6": ["GLIBCXX_3.4.23"], "libc.so.6": ["GLIBC_2.17"]}, "manylinux_2_27_x86_64"),
        ({"libc.so.6": ["GLIBC_2.28"], "libexecutorch.so": [], "libetggml.so": []}, "manylinux_2_28_x86_64"),
        ({"libc.so.6": ["GLIBC_2.28"], "libggml-cpu.so": [], "libcuda.so.1": []}, "manylinux_2_28_x86_64"),
        # A library that no platform promises: such a wheel is for this machine.
        ({"libc.so.6": ["GLIBC_2.28"], "libopenblas.so.0": []}, "linux_x86_64"),
        ({"libc.so.6": ["GLIBC_2.28"], "libgomp.so.1": ["OMP_1.0"]}, "linux_x86_64"),
    ],
)
def test_tag(backend: ModuleType, tmp_path: Path, needs: dict[str, list[str]], tag: str) -> None:
    assert backend._platform_tag([write_elf(tmp_path / "x.so", needs)], True) == tag


def test_the_most_demanding_library_decides(backend: ModuleType, tmp_path: Path) -> None:
    old = write_elf(tmp_path / "old.so", {"libc.so.6": ["GLIBC_2.17"]}, AARCH64)
    new = write_elf(tmp_path / "new.so", {"libc.so.6": ["GLIBC_2.31"]}, AARCH64)
    assert backend._platform_tag([old, new], True) == "manylinux_2_31_aarch64"
    assert backend._platform_tag([new, old], True) == "manylinux_2_31_aarch64"


def test_a_native_build_is_for_this_machine(backend: ModuleType, tmp_path: Path) -> None:
    library = write_elf(tmp_path / "x.so", {"libc.so.6": ["GLIBC_2.17"]})
    assert backend._platform_tag([library], False) == "linux_x86_64"


def test_mixed_machines_are_refused(backend: ModuleType, tmp_path: Path) -> None:
    first = write_elf(tmp_path / "a.so", {"libc.so.6": []})
    second = write_elf(tmp_path / "b.so", {"libc.so.6": []}, AARCH64)
    with pytest.raises(backend.BuildError, match="2 machines"):
        backend._platform_tag([first, second], True)


@pytest.mark.parametrize("content", [b"", b"\x7fELF\x01\x01" + bytes(100), b"MZ" + bytes(100)])
def test_other_formats_are_refused(backend: ModuleType, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.so").write_bytes(content)
    with pytest.raises(backend.BuildError, match=r"x\.so is not a 64-bit little-endian ELF"):
        backend._platform_tag([tmp_path / "x.so"], True)


def test_an_empty_build_is_refused(backend: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(backend.BuildError, match="installed no library"):
        backend._tag(tmp_path, True)


def test_the_parser_agrees_with_readelf(backend: ModuleType) -> None:
    """On a real library: ExecuTorch's, which needs several versions of several files."""
    if shutil.which("readelf") is None:
        pytest.skip("readelf is not installed")
    spec = importlib.util.find_spec("executorch")
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    libraries = [path for place in places for path in (Path(place) / "lib").glob("libexecutorch*.so")]
    if not libraries:
        pytest.skip("executorch's shared libraries are not installed")
    for library in libraries:
        output = subprocess.run(["readelf", "-dVW", library], stdout=subprocess.PIPE, text=True, check=True).stdout
        _, needed, versions = backend._elf_needs(library)
        assert needed == re.findall(r"\(NEEDED\).*\[(.*)\]", output)
        section = output[output.index("Version needs section") :]
        assert sorted(versions) == sorted(re.findall(r"Name: (\S+)  Flags", section))
