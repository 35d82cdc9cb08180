"""A library with the names of another ggml's functions, each of which ends the process, and what binds to what."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from executorch_ggml.runtime._load import library_path

# The version at the end is that of a system library, where the symbol was linked from one.
_BINDING = re.compile(r"binding file (\S+) \[\d+\] to (\S+) \[\d+\]: \w+ symbol `([^']+)'(?: \[(\S+)\])?")
_SYSTEM = ("GLIBC", "CXXABI", "GCC")
# Of the C++ library, with a version or without one: old tool chains link such functions into every library.
_STANDARD = re.compile(r"_Z(N[KV]*S|S|N9__gnu_cxx|T[ISV]S|T[ISV]NS|Z?N[KV]*St)")
PREFIX = "etg_"


def bindings(code: str, folder: Path, **environment: str) -> list[tuple[str, str, str]]:
    """(from, to, symbol) of every binding of our libraries, in a process that runs `code` without an error.

    Without the functions of the C and C++ run-time libraries: whoever brings a copy of some may stand in for them.
    """
    log = folder / "bindings"
    debug = {"LD_DEBUG": "bindings", "LD_DEBUG_OUTPUT": str(log), "LD_BIND_NOW": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **debug, **environment},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr[-2000:]}"
    ours = str(library_path().parent)
    found = []
    for part in folder.glob("bindings.*"):
        for line in part.read_text(errors="replace").splitlines():
            match = _BINDING.search(line)
            if (
                match
                and match[1].startswith(ours)
                and not (match[4] or "").startswith(_SYSTEM)
                and not _STANDARD.match(match[3])
            ):
                found.append((match[1], match[2], match[3]))
        part.unlink()
    return found


def stub(names: list[str], folder: Path) -> Path:
    """A shared library which defines the functions, and some of C++ that every library carries a copy of."""
    compiler = os.environ.get("CXX") or shutil.which("c++")
    if compiler is None:
        pytest.skip("there is no C++ compiler")
    source = folder / "other_ggml.cpp"
    lines = ["#include <cstdlib>", "#include <string>", "#include <vector>", 'extern "C" {']
    lines += [f"void {name}() {{ std::abort(); }}" for name in names]
    lines += ["}", "template class std::vector<float>;", "template class std::vector<std::string>;"]
    source.write_text("\n".join(lines) + "\n")
    target = folder / "libother_ggml.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O0", str(source), "-o", str(target)], check=True)
    return target
