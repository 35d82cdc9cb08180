"""The version of each foreign source has one home, third-party/lock.json, and the facts that depend on it agree."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from executorch_ggml.runtime._load import EXECUTORCH_BELOW, EXECUTORCH_MIN

ROOT = Path(__file__).resolve().parents[2]
RECORDS = (":!benchmarks/results", ":!CHANGELOG.md", ":!third-party/lock.json", ":!docs/conformance.md")
"""Files that say which version was measured, by hand or by a script."""


def dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def mentions(*words: str) -> str:
    command = ["git", "grep", "--line-number", "--fixed-strings", "--word-regexp", "-I"]
    for word in words:
        command += ["-e", word]
    done = subprocess.run([*command, "--", ".", *RECORDS], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode > 1:
        pytest.skip(f"this is no git checkout: {done.stderr.strip()}")
    return done.stdout


def test_the_version_of_ggml_has_one_home(fetch: ModuleType) -> None:
    lock = fetch.LOCK["llama.cpp"]
    known = re.fullmatch(r"ggml (\d+\.\d+\.\d+) \(llama\.cpp ([0-9a-f]{7,})\)", lock["version"])
    assert known is not None
    assert mentions(*known.groups(), lock["distribution"].partition("==")[2]) == ""


def test_ggml_vocabularies_and_peer_are_of_one_archive(fetch: ModuleType) -> None:
    first, *others = (fetch.LOCK[name] for name in ("llama.cpp", "vocab", "llama.cpp-peer"))
    for other in others:
        for key in ("distribution", "archives", "strip"):
            assert other[key] == first[key]
        assert other["version"] in first["version"]
        assert other["patches"] == []


def test_the_version_of_executorch_has_one_home(fetch: ModuleType) -> None:
    version = fetch.LOCK["executorch"]["distribution"].partition("==")[2]
    assert mentions(version) == ""


def test_the_range_of_executorch_holds_the_version_that_is_built_against(fetch: ModuleType) -> None:
    lock = fetch.LOCK["executorch"]
    version = lock["distribution"].partition("==")[2]
    assert lock["version"] == version
    assert all(file.startswith(f"executorch-{version}-") for file in lock["archives"])
    assert EXECUTORCH_MIN <= tuple(map(int, version.split(".")[:2])) < EXECUTORCH_BELOW
    # The C++ interface changes with every minor version, so one is all that a build fits.
    assert (EXECUTORCH_MIN[0], EXECUTORCH_MIN[1] + 1) == EXECUTORCH_BELOW
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'"executorch>={dotted(EXECUTORCH_MIN)},<{dotted(EXECUTORCH_BELOW)}"' in project
    assert f"one minor version at a time, now {dotted(EXECUTORCH_MIN)} |" in (ROOT / "docs/releasing.md").read_text()


def test_every_patch_is_in_the_lock_and_in_its_readme(fetch: ModuleType) -> None:
    files = {path.name for path in (ROOT / "third-party" / "patches").glob("*.patch")}
    assert files == {patch for package in fetch.LOCK.values() for patch in package["patches"]}
    readme = (ROOT / "third-party" / "patches" / "README.md").read_text(encoding="utf-8")
    assert files == set(re.findall(r"^\| `(\S+\.patch)` \|", readme, re.MULTILINE))


def test_patches_fit_the_locked_tree(fetch: ModuleType, tmp_path: Path) -> None:
    """Without fuzz and without an offset: the page about an update has them written anew."""
    lock = fetch.LOCK["llama.cpp"]
    cached = fetch.cache_dir() / next(iter(lock["archives"]))
    if not cached.is_file():
        pytest.skip(f"{cached} has not been fetched")
    fetch.unpack(fetch.archive("llama.cpp"), lock, tmp_path)
    assert fetch.tree_sha256(tmp_path) == lock["tree_sha256"]
    for patch in lock["patches"]:
        said = fetch.apply_patch(ROOT / "third-party" / "patches" / patch, tmp_path)
        assert not said, f"{patch} fits at other lines: {said}"
