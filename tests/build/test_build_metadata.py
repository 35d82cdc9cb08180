"""Metadata without compiling, and the one place that states the version."""

from __future__ import annotations

import email.parser
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def metadata(backend: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("metadata must not start a program")

    monkeypatch.setattr(backend.subprocess, "Popen", forbidden)
    monkeypatch.setattr(backend.subprocess, "run", forbidden)
    return tmp_path / str(backend.prepare_metadata_for_build_wheel(str(tmp_path)))


def test_dist_info(metadata: Path) -> None:
    assert re.fullmatch(r"executorch_ggml-\d+\.\d+\.\d+\.dist-info", metadata.name)
    files = {path.relative_to(metadata).as_posix() for path in metadata.rglob("*") if path.is_file()}
    assert files == {"METADATA", "entry_points.txt", "licenses/LICENSE"}
    assert "executorch-ggml = executorch_ggml.cli.main:main" in (metadata / "entry_points.txt").read_text()


def test_metadata_fields(metadata: Path) -> None:
    message = email.parser.Parser().parsestr((metadata / "METADATA").read_text(encoding="utf-8"))
    assert message["Name"] == "executorch-ggml"
    assert message["Requires-Python"] == ">=3.10"
    assert message["License-Expression"]
    assert "# executorch-ggml" in str(message.get_payload())
    required = message.get_all("Requires-Dist") or []
    always = [line for line in required if "extra ==" not in line]
    assert any(re.match(r"executorch>=\d+\.\d+,<\d+\.\d+$", line) for line in always)  # test_versions.py has the rest
    # A process that runs a GGUF never imports torch, so installing must not bring it.
    assert not any(re.match(r"torch\b", line) for line in always)
    assert any(re.match(r"torch\b.*extra == 'export'", line) for line in required)
    assert set(message.get_all("Provides-Extra") or []) >= {"export", "test", "dev"}


def test_metadata_parses_as_pip_parses_it(metadata: Path) -> None:
    packaging = pytest.importorskip("packaging.metadata")
    parsed = packaging.Metadata.from_email((metadata / "METADATA").read_bytes(), validate=True)
    assert str(parsed.version) == metadata.name.removesuffix(".dist-info").split("-")[1]


def test_markers_of_extras_are_combined(backend: ModuleType, tree: Path) -> None:
    project = tree / "pyproject.toml"
    old = "[project.optional-dependencies]\n"
    project.write_text(project.read_text().replace(old, old + "odd = [\"x>=1; python_version < '3.12'\"]\n"))
    text = backend._metadata(backend._settings({}, "portable"))[2]["METADATA"].decode()
    assert "Requires-Dist: x>=1 ; (python_version < '3.12') and extra == 'odd'\n" in text


@pytest.mark.parametrize("variant", ["cuda", "rpc", "vulkan"])
def test_plugins_are_distributions_of_the_same_version(backend: ModuleType, variant: str) -> None:
    name, version, files = backend._metadata(backend._settings({"variant": variant}, "portable"))
    message = email.parser.Parser().parsestr(files["METADATA"].decode())
    assert (name, message["Name"]) == (f"executorch_ggml_{variant}", f"executorch-ggml-{variant}")
    assert "ggml" in message["Summary"]
    required = message.get_all("Requires-Dist") or []
    assert f"executorch-ggml=={version}" in required
    assert "Provides-Extra" not in message
    assert set(files) == {"METADATA", "licenses/LICENSE"}  # the command line is the base's
    nvidia = [line for line in required if line.startswith("nvidia-")]
    assert nvidia == (["nvidia-cublas>=13.0,<14", "nvidia-cuda-runtime>=13.0,<14"] if variant == "cuda" else [])
    assert len(required) == 1 + len(nvidia)
    # The extra of the base asks for exactly this one.
    base = backend._metadata(backend._settings({}, "portable"))[2]["METADATA"].decode()
    assert f"Requires-Dist: executorch-ggml-{variant}=={version} ; extra == '{variant}'\n" in base


def test_cmake_reads_the_version_from_pyproject() -> None:
    text = (ROOT / "CMakeLists.txt").read_text()
    assert 'project(executorch_ggml VERSION "${version}"' in text
    version = re.search(r'^version = "(\d+\.\d+\.\d+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert version[1] not in text
