"""Plug-ins: found, checked, opened, and what is said of one that cannot be. Modules and driver are stubs."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from plugin_site import ROOT, Site, manifest
from shared_models import Mlp

import executorch_ggml

pytestmark = [pytest.mark.quick, pytest.mark.skipif(sys.platform != "linux", reason="plug-ins are for Linux")]

VERSION = executorch_ggml.__version__


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path / "site-packages")
    made.add_base()
    return made


def test_a_plugin_beside_the_base_is_loaded(site: Site) -> None:
    site.add_plugin("vulkan")
    found = site.devices()
    assert set(found) == {"cpu", "vulkan:0"}
    assert found["vulkan:0"]["usable"]
    assert found["vulkan:0"]["description"] == "stub device"
    assert found["vulkan:0"]["memory_total"] == 2 << 20


def test_a_wheel_of_a_plugin_is_loaded(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built by the hook, of a stub in place of the module, and unpacked where pip would put it."""
    spec = importlib.util.spec_from_file_location("build_backend_of_plugins", ROOT / "build_backend.py")
    assert spec is not None
    assert spec.loader is not None
    backend = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(backend)

    def install(settings: dict[str, Any], prefix: Path, strip: bool) -> None:
        shutil.copytree(Site(tmp_path / "built").add_plugin("vulkan"), prefix / "lib")

    monkeypatch.setattr(backend, "_compile", install)
    wheel = tmp_path / backend.build_wheel(str(tmp_path), {"variant": "vulkan"})
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site.path)
    assert site.devices()["vulkan:0"]["usable"]


def test_a_plugin_named_by_the_environment(site: Site, tmp_path: Path) -> None:
    elsewhere = Site(tmp_path / "elsewhere")
    directory = elsewhere.add_plugin("vulkan")
    assert set(site.devices()) == {"cpu"}
    for named in (directory, directory.parent, f"/nowhere:{directory}"):
        assert set(site.devices(EXECUTORCH_GGML_PLUGINS=str(named))) == {"cpu", "vulkan:0"}


def test_the_cpu_opens_no_plugin(site: Site, mlp: Mlp) -> None:
    site.add_plugin("vulkan")
    out = site.run(
        "import numpy as np\n"
        "from executorch_ggml import Program\n"
        f"Program({str(mlp.pte)!r}, device='cpu', threads=1).execute('forward', [np.zeros((2, 8), np.float32)])\n"
        "print('libggml-vulkan' in open('/proc/self/maps').read())\n"
    )
    assert out.split() == ["False"]


def test_a_device_without_its_plugin_says_what_to_install(site: Site, mlp: Mlp) -> None:
    message = site.refusal("cuda:1", mlp.pte)
    assert "no device 'cuda:1'; available: cpu" in message
    assert f"pip install 'executorch-ggml[cuda]=={VERSION}'" in message
    assert "pip install" not in site.refusal("abacus", mlp.pte)


@pytest.mark.parametrize(
    "changes, remedy",
    [
        ({"version": "9.8.7"}, f"pip install 'executorch-ggml-vulkan=={VERSION}'"),
        ({"ggml": "0.1.2 (abc)"}, "build both from the same sources"),
        ({"abi": 77}, "build both from the same sources"),
    ],
)
def test_another_version_is_refused_unopened(site: Site, mlp: Mlp, changes: dict[str, object], remedy: str) -> None:
    site.add_plugin("vulkan", **changes)
    entry = site.devices()["vulkan"]
    assert not entry["usable"]
    assert "executorch-ggml-vulkan" in entry["description"]
    assert str(next(iter(changes.values()))) in entry["reason"]
    assert f"this is executorch-ggml {VERSION} with ggml 0.20.0" in entry["reason"]
    assert remedy in entry["reason"]
    assert entry["reason"] in site.refusal("vulkan", mlp.pte)
    assert entry["reason"] in site.refusal("vulkan:1", mlp.pte)


def test_a_missing_library_is_named_with_what_brings_it(site: Site) -> None:
    library = {"file": "libneeded.so", "directories": ["nvidia/cu13/lib"], "install": "pip install needed"}
    directory = site.add_plugin("vulkan", needs=True, libraries=[library])
    moved = site.path / "nvidia" / "cu13" / "lib" / "libneeded.so"
    moved.parent.mkdir(parents=True)
    (directory / "libneeded.so").rename(directory / "hidden")
    entry = site.devices()["vulkan"]
    assert "libneeded.so cannot be loaded" in entry["reason"]
    assert "cannot open shared object file" in entry["reason"]
    assert entry["reason"].endswith("run: pip install needed")
    # Where the wheel puts it, it is found without any RUNPATH or LD_LIBRARY_PATH.
    (directory / "hidden").rename(moved)
    assert site.devices()["vulkan:0"]["usable"]


def test_a_module_that_does_not_open_says_why(site: Site) -> None:
    directory = site.add_plugin("vulkan", needs=True)
    (directory / "libneeded.so").unlink()
    assert "libneeded.so: cannot open shared object file" in site.devices()["vulkan"]["reason"]
    (directory / "libggml-vulkan.so").unlink()
    assert "libggml-vulkan.so cannot be loaded" in site.devices()["vulkan"]["reason"]


def test_a_module_without_devices_says_so(site: Site) -> None:
    site.add_plugin("vulkan", devices=0)
    assert site.devices()["vulkan"]["reason"] == "it finds no device on this machine"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"backend": 3}', '{"libraries": 1}'])
def test_a_bad_manifest_is_named(site: Site, text: str) -> None:
    directory = site.add_plugin("vulkan")
    path = directory / "ggml-vulkan.json"
    path.write_text(text)
    assert str(path) in site.devices()["vulkan"]["reason"]


def test_a_manifest_names_only_its_neighbour(site: Site) -> None:
    directory = site.add_plugin("vulkan")
    (directory / "ggml-vulkan.json").write_text(json.dumps(manifest("vulkan", module="../../evil.so")))
    assert "must lie beside the manifest" in site.devices()["vulkan"]["reason"]


CUDA = {"cuda": "13.0", "architectures": "80-real;90-real;100-virtual;120a-real"}  # of the wheel


def test_no_driver(site: Site, mlp: Mlp) -> None:
    site.add_plugin("cuda", **CUDA)
    (site.path / "driver").mkdir()
    (site.path / "driver" / "libcuda.so.1").write_text("")  # stands before a real one
    assert site.devices()["cuda"]["reason"].startswith("no NVIDIA driver is installed (")
    assert "device 'cuda' cannot be used: no NVIDIA driver" in site.refusal("cuda", mlp.pte)
    assert "no NVIDIA driver" in site.refusal("", mlp.pte, GGML_BACKEND_DEVICE="cuda:0")


@pytest.mark.parametrize(
    "driver, reason",
    [
        ({"version": 12080}, "the NVIDIA driver supports CUDA 12.8, the plug-in needs CUDA 13.0: update the driver"),
        ({"init": 100}, "the NVIDIA driver sees no GPU"),
        ({"count": 0}, "the NVIDIA driver sees no GPU"),
        ({"init": 999}, "the NVIDIA driver does not start: out of order (999)"),
    ],
)
def test_a_driver_that_will_not_do(site: Site, driver: dict[str, int], reason: str) -> None:
    site.add_plugin("cuda", **CUDA)
    site.add_driver(**driver)
    assert site.devices()["cuda"]["reason"].startswith(reason)


@pytest.mark.parametrize(
    "capability, usable",
    [(75, False), *((capability, True) for capability in (80, 86, 89, 90, 100, 103, 120, 121, 130))],
)
def test_a_gpu_needs_code_for_it(site: Site, capability: int, usable: bool) -> None:
    """121 has no machine code (120a is for 120 alone) but translates the PTX of 100."""
    site.add_plugin("cuda", **CUDA)
    site.add_driver(capability=capability)
    entry = site.devices()["cuda:0"]
    assert entry["usable"] == usable
    assert usable or entry["reason"].startswith("its compute capability is 7.5, and the plug-in has code for 80-real")


def test_machine_code_alone_does_not_run_on_newer_gpus(site: Site) -> None:
    site.add_plugin("cuda", cuda="13.0", architectures="90-real;120a-real")
    site.add_driver(capability=100)
    assert not site.devices()["cuda:0"]["usable"]
