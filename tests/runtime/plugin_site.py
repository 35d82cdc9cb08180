"""A directory like site-packages with the library under test in it, plug-ins beside it, and a driver of one's own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from executorch_ggml.runtime._load import library_path
from executorch_ggml.runtime.devices import build_info

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent


def compiler() -> str:
    found = os.environ.get("CC") or shutil.which("cc")
    if found is None:
        pytest.skip("there is no C compiler")
    return found


def compile_shared(target: Path, source: str, *arguments: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [compiler(), "-shared", "-fPIC", "-Wall", "-o", str(target), str(HERE / source), *arguments]
    subprocess.run(command, check=True)


def plugin_abi() -> int:
    text = (ROOT / "csrc" / "devices" / "plugin" / "abi.h").read_text()
    found = re.search(r"#define ETGGML_PLUGIN_ABI (\d+)", text)
    assert found is not None
    return int(found[1])


def manifest(backend: str, **changes: Any) -> dict[str, Any]:
    """What fits the library under test, but for the changes."""
    info = build_info()
    return {
        "backend": backend,
        "distribution": f"executorch-ggml-{backend}",
        "version": info["version"],
        "ggml": f"{info['ggml_version']} ({info['ggml_commit']})",
        "abi": plugin_abi(),
        "module": f"libggml-{backend}.so",
        "libraries": [],
        **changes,
    }


@dataclass
class Site:
    path: Path

    @property
    def library(self) -> Path:
        return self.path / "executorch_ggml" / "lib" / library_path().name

    def add_base(self) -> None:
        self.library.parent.mkdir(parents=True)
        for path in library_path().parent.glob("lib*.so"):
            # A hard link is a file of its own to whoever asks where the library lies; a symbolic link is not.
            try:
                os.link(path, self.library.parent / path.name)
            except OSError:
                shutil.copyfile(path, self.library.parent / path.name)

    def add_plugin(self, backend: str, *, devices: int = 1, needs: bool = False, **changes: Any) -> Path:
        """A plug-in with a stub of a module; returns its directory."""
        ggml = ROOT / "build" / "third-party" / "llama.cpp" / "ggml"
        if not (ggml / "src" / "ggml-backend-impl.h").is_file():
            pytest.skip("ggml's headers are not in build/third-party")
        directory = self.path / f"executorch_ggml_{backend}" / "lib"
        name = "CUDA" if backend == "cuda" else backend.title()
        arguments = [f"-I{ggml / 'include'}", f"-I{ggml / 'src'}", f'-DBACKEND="{name}"', f"-DDEVICES={devices}"]
        if needs:
            (directory / "empty.c").parent.mkdir(parents=True, exist_ok=True)
            (directory / "empty.c").write_text("int needed(void); int needed(void) { return 0; }\n")
            library = directory / "libneeded.so"
            subprocess.run(
                [compiler(), "-shared", "-Wl,-soname,libneeded.so", "-o", str(library), str(directory / "empty.c")],
                check=True,
            )
            arguments += ["-DNEEDS", f"-L{directory}", "-lneeded"]
        compile_shared(directory / f"libggml-{backend}.so", "plugin_stub.c", *arguments)
        (directory / f"ggml-{backend}.json").write_text(json.dumps(manifest(backend, **changes)))
        return directory

    def add_driver(self, *, version: int = 13000, count: int = 1, capability: int = 90, init: int = 0) -> None:
        definitions = {"VERSION": version, "COUNT": count, "CAPABILITY": capability, "INIT": init}
        arguments = [f"-D{name}={value}" for name, value in definitions.items()]
        compile_shared(self.path / "driver" / "libcuda.so.1", "plugin_driver_stub.c", *arguments)

    def run(self, code: str, **environment: str) -> str:
        """stdout of `code` in a process that uses this site's library; nothing may come on stderr."""
        import executorch_ggml

        search = f"{self.path / 'driver'}:{os.environ.get('LD_LIBRARY_PATH', '')}"
        given = {"PYTHONPATH": str(Path(executorch_ggml.__file__).parents[1]), "LD_LIBRARY_PATH": search}
        given |= {"EXECUTORCH_GGML_LIBRARY": str(self.library), **environment}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env={**os.environ, **given}
        )
        assert (done.returncode, done.stderr) == (0, ""), f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def devices(self, **environment: str) -> dict[str, dict[str, Any]]:
        code = (
            "import json, dataclasses; from executorch_ggml.runtime.devices import devices; "
            "print(json.dumps([dataclasses.asdict(d) for d in devices()]))"
        )
        return {entry["name"]: entry for entry in json.loads(self.run(code, **environment))}

    def refusal(self, device: str, pte: Path, **environment: str) -> str:
        """The message of the typed error with which a program for that device does not load."""
        return self.run(
            "from executorch_ggml import Program, errors\n"
            "try:\n"
            f"    Program({str(pte)!r}, device={device!r})('x')\n"
            "except errors.DeviceError as error:\n"
            "    print(error)\n",
            **environment,
        )
