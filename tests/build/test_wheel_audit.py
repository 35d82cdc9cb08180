"""tools/wheels/audit.py, which holds wheels against auditwheel's report, on reports written here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BASE = "executorch_ggml-0.1.0-py3-none-manylinux_2_34_x86_64.whl"
PLUGIN = "executorch_ggml_cuda-0.1.0-py3-none-manylinux_2_34_x86_64.whl"


@pytest.fixture(scope="module")
def audit() -> Any:
    from tools.wheels import audit

    return audit


def report(wheel: str = BASE, **changes: Any) -> dict[str, Any]:
    libraries = {"libexecutorch.so": None, "libexecutorch_etdump.so": None}
    return {
        "wheel": wheel,
        "sym_tag": "manylinux_2_34_x86_64",
        "external_libs": libraries,
        "unsupported_isa": False,
    } | (changes)


@pytest.mark.parametrize("tag", ["manylinux_2_34_x86_64", "manylinux_2_28_x86_64"])
def test_a_tag_that_keeps_its_promise(audit: Any, tag: str) -> None:
    assert audit.problems(report(sym_tag=tag)) == []


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"sym_tag": "manylinux_2_35_x86_64"}, "need manylinux_2_35_x86_64"),
        ({"sym_tag": "manylinux_2_28_aarch64"}, "need manylinux_2_28_aarch64"),
        ({"sym_tag": "linux_x86_64"}, "fit no manylinux platform"),
        ({"wheel": "executorch_ggml-0.1.0-py3-none-linux_x86_64.whl"}, "the tag is not manylinux"),
        ({"external_libs": {"libggml.so.0": None, "libfoo.so.1": None}}, "needs libfoo.so.1"),
        ({"external_libs": {"libcublas.so.13": None}}, "needs libcublas.so.13"),
        ({"unsupported_isa": True}, "newer CPUs"),
        ({"error": "no ELF file"}, "no ELF file"),
    ],
)
def test_a_tag_that_does_not(audit: Any, changes: dict[str, Any], part: str) -> None:
    assert part in "\n".join(audit.problems(report(**changes)))


def test_a_plugin_may_need_its_driver(audit: Any) -> None:
    libraries = {"libcuda.so.1": None, "libcudart.so.13": None, "libcublas.so.13": None, "libetggml-base.so": None}
    assert audit.problems(report(PLUGIN, external_libs=libraries)) == []


def test_no_wheel_is_an_error() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "tools/wheels/audit.py")], capture_output=True, text=True)
    assert done.returncode == 1
    assert "name the wheels" in done.stderr
