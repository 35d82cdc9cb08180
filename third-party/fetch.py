#!/usr/bin/env python3
"""Fetches the sources that are not ours into build/third-party/, as third-party/lock.json pins them.

    python third-party/fetch.py                      # what the build needs: llama.cpp (ggml), highway and executorch
    python third-party/fetch.py vocab llama.cpp-peer # what tests and benchmarks need

Archives come through the ordinary pip client with --require-hashes (pip refuses a wrong file before it runs anything
from it), are kept in a cache ($EXECUTORCH_GGML_CACHE, default ~/.cache/executorch-ggml) and are hashed again here.
Only the files named in the lock are unpacked, and the unpacked tree has a hash of its own. Patches fit or
the fetch fails. Standard library only: this runs inside an isolated PEP 517 build.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

HERE = Path(__file__).resolve().parent
LOCK: dict[str, Any] = json.loads((HERE / "lock.json").read_text(encoding="utf-8"))["packages"]
BUILD_PACKAGES = ("llama.cpp", "highway", "executorch")


class FetchError(Exception):
    """A source that cannot be had as pinned; the message says what to do."""


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def selected(name: str, rules: list[str]) -> bool:
    """True when `name` is wanted: a rule is a file, `dir/` (everything below) or `dir/*` (files directly in it)."""
    parent, _, _ = name.rpartition("/")
    for rule in rules:
        if name == rule or (rule.endswith("/") and name.startswith(rule)):
            return True
        if rule.endswith("*") and parent == rule[:-1].rstrip("/"):
            return True
    return False


def cache_dir() -> Path:
    if override := os.environ.get("EXECUTORCH_GGML_CACHE"):
        return Path(override)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "executorch-ggml"


def pip_environment() -> dict[str, str]:
    """The environment for a pip of its own.

    This runs inside a build hook of an outer pip, whose variables would tell the inner one's hooks that they are ours.
    """
    outer = ("_PYPROJECT_HOOKS_", "PEP517_", "PIP_BUILD_TRACKER")
    return {key: value for key, value in os.environ.items() if not key.startswith(outer)}


STAND_IN = """
import pathlib

def prepare_metadata_for_build_wheel(directory, config_settings=None):
    info = pathlib.Path(directory, "{0}-{1}.dist-info")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: {0}\\nVersion: {1}\\n")
    return info.name
"""


def stand_in(backend: str, distribution: str, directory: Path) -> dict[str, str]:
    """The environment in which pip takes our few lines for the build backend of a source distribution.

    pip asks it for metadata even where only the archive is wanted. The real one may configure the whole source first,
    which takes minutes and a compiler.
    """
    directory.mkdir()
    (directory / f"{backend}.py").write_text(STAND_IN.format(*distribution.split("==")), encoding="utf-8")
    return {"PYTHONPATH": str(directory)}


def archive(name: str) -> Path:
    """The pinned archive of a package, from the cache or through pip."""
    lock = LOCK[name]
    cache = cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        wheels = any(file.endswith(".whl") for file in lock["archives"])
        if not wheels:  # one archive for every platform: the cache alone can answer
            for file, digest in lock["archives"].items():
                cached: Path = cache / file
                if cached.is_file() and sha256(cached) == digest:
                    return cached
        requirements = Path(scratch) / "requirements.txt"
        hashes = "".join(f" --hash=sha256:{digest}" for digest in lock["archives"].values())
        requirements.write_text(lock["distribution"] + hashes + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "--quiet"]
        command += [*lock["pip"], "--require-hashes", "--find-links", str(cache), "--dest", scratch]
        command += ["--requirement", str(requirements)]
        environment = pip_environment()
        if backend := lock.get("backend"):
            command.append("--no-build-isolation")
            environment |= stand_in(backend, lock["distribution"], Path(scratch) / "backend")
        print(f"third-party: getting {lock['distribution']} with pip", file=sys.stderr, flush=True)
        pipe = subprocess.PIPE
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.STDOUT, text=True, check=False, env=environment)
        found = [Path(scratch) / file for file in lock["archives"] if (Path(scratch) / file).is_file()]
        if done.returncode != 0 or not found:
            raise FetchError(
                f"pip could not get {lock['distribution']} (rc {done.returncode}): {' '.join(command)}\n"
                f"{done.stdout.strip()[-2000:]}\n"
                f"Without network access put one of {sorted(lock['archives'])} into {cache}, or set "
                "GGML_SOURCE_DIR / EXECUTORCH_ROOT."
            )
        if sha256(found[0]) != lock["archives"][found[0].name]:
            raise FetchError(f"{found[0].name} is not the file pinned in {HERE / 'lock.json'}")
        kept: Path = cache / found[0].name
        os.replace(found[0], kept)
        return kept


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of the regular files of an archive; links and devices are left out."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            for entry in wheel.infolist():
                if not entry.is_dir():
                    yield entry.filename, wheel.read(entry)
    else:
        with tarfile.open(path, "r:*") as tar:
            for member in tar:
                if member.isfile():
                    stream = tar.extractfile(member)
                    assert stream is not None
                    yield member.name, stream.read()


def unpack(path: Path, lock: dict[str, Any], target: Path) -> None:
    strip = lock["strip"]
    for name, content in members(path):
        if not name.startswith(strip) or not selected(name[len(strip) :], lock["files"]):
            continue
        relative = PurePosixPath(name[len(strip) :])
        if relative.is_absolute() or ".." in relative.parts or "\\" in name:
            raise FetchError(f"{path.name} holds an unsafe name: {name!r}")
        destination = target / relative
        destination.parent.mkdir(parents=True, exist_ok=True)
        destination.write_bytes(content)


def copy_selected(source: Path, lock: dict[str, Any], target: Path) -> None:
    """The same selection from a source tree on disk (GGML_SOURCE_DIR)."""
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source).as_posix()
        if path.is_file() and selected(relative, lock["files"]):
            destination = target / relative
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, destination)


def tree_sha256(root: Path, skip: tuple[str, ...] = ()) -> str:
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*"), key=lambda p: p.relative_to(root).as_posix()):
        relative = path.relative_to(root).as_posix()
        if path.is_file() and not relative.startswith(skip):
            digest.update(f"{relative}\n{sha256(path)}\n".encode())
    return digest.hexdigest()


def apply_patch(patch: Path, root: Path) -> list[str]:
    """Applies a unified diff with `git apply`, all of it or nothing. Returns git's lines about hunks that have moved.

    Context and removed lines must match exactly; a hunk may have moved, as it does with a new version of the source.
    """
    # Inside of a repository git would take the paths for the repository's, and skip those that it does not know.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(root.resolve().parent), "LC_ALL": "C"}
    command = ["git", "apply", "--verbose", "--whitespace=nowarn", str(patch.resolve())]
    try:
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise FetchError("git is needed to apply the patches in third-party/patches, and was not found") from None
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        why = "; ".join(line.removeprefix("error: ") for line in errors if not line.endswith("while searching for:"))
        raise FetchError(f"{patch.name} does not apply to {root}: {why}")
    return [line for line in done.stderr.splitlines() if line.startswith("Hunk #")]


def apply_all(patches: list[str], root: Path) -> None:
    """Applies the patches of third-party/patches in this order. One message names all that do not fit."""
    problems = []
    for patch in patches:
        try:
            for moved in apply_patch(HERE / "patches" / patch, root):
                print(f"third-party: {patch}: {moved}", file=sys.stderr)
        except FetchError as problem:
            problems.append(str(problem))
    if problems:
        advice = "python third-party/patches.py open shows the hunks"
        raise FetchError("\n".join([*problems, f"{len(problems)} of {len(patches)} patches do not fit: {advice}"]))


def stamp_key(name: str, override: Path | None) -> str:
    lock = LOCK[name]
    digest = hashlib.sha256(json.dumps(lock, sort_keys=True).encode())
    for patch in lock["patches"]:
        digest.update((HERE / "patches" / patch).read_bytes())
    if override is not None:  # somebody's own tree may change at any time: its content is the key
        digest.update(tree_sha256(override, (".git/", "build/")).encode())
    return digest.hexdigest()


def fetch(name: str, root: Path, override: Path | None = None) -> Path:
    """Makes root/<name> hold the package exactly as pinned and patched; returns it. Cheap when it already does."""
    lock = LOCK[name]
    target = root / (name if override is None else name + "-override")
    stamp = target / ".stamp"
    key = stamp_key(name, override)
    if stamp.is_file() and stamp.read_text() == key:
        return target
    fresh = root / f"{target.name}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    if override is not None:
        copy_selected(override, lock, fresh)
        if not any(fresh.iterdir()):
            raise FetchError(f"{override} holds none of the files that {name} is made of: {lock['files']}")
    else:
        unpack(archive(name), lock, fresh)
        # Libraries differ between wheels, whose own hashes were checked; the headers must not.
        actual = tree_sha256(fresh, ("lib/",) if name == "executorch" else ())
        if lock["tree_sha256"] != actual:
            raise FetchError(f"{name}: the unpacked files hash to {actual}, the lock says {lock['tree_sha256']}")
    apply_all(lock["patches"], fresh)
    (fresh / ".stamp").write_text(key)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(fresh, target)
    return target


@contextlib.contextmanager
def exclusive(root: Path) -> Iterator[None]:
    """One fetch at a time: several build directories share build/third-party."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as handle:
        with contextlib.suppress(ImportError):  # no fcntl on Windows: then nothing guards, as before
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs="*", default=list(BUILD_PACKAGES), metavar="package", help=", ".join(LOCK))
    parser.add_argument("--dest", type=Path, default=HERE.parent / "build" / "third-party")
    parser.add_argument("--ggml-source", type=Path, help="a llama.cpp tree to copy and patch instead of the pinned one")
    arguments = parser.parse_args()
    try:
        with exclusive(arguments.dest):
            for name in arguments.packages:
                if name not in LOCK:
                    raise FetchError(f"no package {name!r} in the lock; there are {', '.join(LOCK)}")
                override = arguments.ggml_source if name == "llama.cpp" else None
                print(fetch(name, arguments.dest.resolve(), override and override.resolve()))
    except FetchError as error:
        print(f"third-party: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
