"""Fetching foreign sources: the lock, the selection, the hashes, the patches."""

from __future__ import annotations

import email
import importlib
import io
import json
import re
import subprocess
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

PATCH = """\
--- a/dir/file.c
+++ b/dir/file.c
@@ -2,3 +2,4 @@
 two
-three
+THREE
+and a half
 four
@@ -8,3 +9,3 @@
 eight
-nine
+NINE
 ten
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "dir").mkdir()
    numbers = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    (tmp_path / "dir" / "file.c").write_text("".join(f"{number}\n" for number in numbers))
    return tmp_path


def apply(fetch: ModuleType, root: Path, text: str) -> str:
    patch = root / "x.patch"
    patch.write_text(text)
    fetch.apply_patch(patch, root)
    return (root / "dir" / "file.c").read_text()


def test_a_fitting_patch_applies(fetch: ModuleType, source: Path) -> None:
    assert apply(fetch, source, PATCH).split("\n") == [
        *("one", "two", "THREE", "and a half", "four", "five", "six", "seven", "eight", "NINE", "ten", "")
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("-three", "-drei", r"does not apply to .*file\.c:2"),
        (" two", " zwei", r"file\.c:2"),
        ("dir/file.c\n@@", "dir/other.c\n@@", "No such file"),
        ("-nine\n+NINE\n", "", "corrupt patch"),
        (" four\n@@", "?four\n@@", "corrupt patch"),
        ("--- a/dir/file.c\n+++ b/dir/file.c\n", "", "No valid patches|without header"),
    ],
)
def test_anything_else_is_refused(fetch: ModuleType, source: Path, old: str, new: str, message: str) -> None:
    before = (source / "dir" / "file.c").read_text()
    assert old in PATCH
    with pytest.raises(fetch.FetchError, match=message):
        apply(fetch, source, PATCH.replace(old, new, 1))
    assert (source / "dir" / "file.c").read_text() == before


def test_a_hunk_may_have_moved(fetch: ModuleType, source: Path) -> None:
    """With a new version of a source, lines stand elsewhere; their text must be the same."""
    file = source / "dir" / "file.c"
    file.write_text("new\nlines\n" + file.read_text())
    assert apply(fetch, source, PATCH).startswith("new\nlines\none\ntwo\nTHREE\n")


def test_one_message_names_all_patches_that_do_not_fit(
    fetch: ModuleType, source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And those that fit elsewhere, so that an update of a source is seen at a glance."""
    folder = source / "third-party" / "patches"
    folder.mkdir(parents=True)
    texts = {"a": PATCH.replace("-three", "-drei"), "b": PATCH, "c": PATCH.replace("dir/file.c", "dir/other.c")}
    for name, text in texts.items():
        (folder / f"{name}.patch").write_text(text)
    monkeypatch.setattr(fetch, "HERE", folder.parent)
    file = source / "dir" / "file.c"
    file.write_text("new\n" + file.read_text())
    with pytest.raises(fetch.FetchError, match=r"(?s)a\.patch does not.*c\.patch does not.*2 of 3 patches do not fit"):
        fetch.apply_all([f"{name}.patch" for name in texts], source)
    assert "THREE" in file.read_text()
    assert "b.patch: Hunk #1 succeeded at 3 (offset 1 line)" in capsys.readouterr().err


def test_inside_of_a_repository(fetch: ModuleType, source: Path) -> None:
    """build/third-party lies in our own working tree, where git would skip files that it does not track."""
    subprocess.run(["git", "init", "--quiet", str(source)], check=True)
    folder = source / "build"
    folder.mkdir()
    (source / "dir").rename(folder / "dir")
    assert "THREE" in apply(fetch, folder, PATCH)


def test_selection(fetch: ModuleType) -> None:
    rules = ["LICENSE", "include/", "src/*"]
    for name in ("LICENSE", "include/a.h", "include/b/c.h", "src/a.c"):
        assert fetch.selected(name, rules)
    for name in ("LICENSE.md", "src/sub/a.c", "srcs/a.c", "other/LICENSE", "includes/a.h"):
        assert not fetch.selected(name, rules)


def make_tar(path: Path, entries: list[tuple[str, bytes, bytes]]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, kind, content in entries:
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(content), "/etc/passwd"
            tar.addfile(member, io.BytesIO(content))


def test_links_in_archives_are_left_out(fetch: ModuleType, tmp_path: Path) -> None:
    kinds = [("p/src/a", tarfile.REGTYPE, b"a"), ("p/src/b", tarfile.SYMTYPE, b""), ("p/src/c", tarfile.LNKTYPE, b"")]
    make_tar(tmp_path / "x.tar.gz", kinds)
    fetch.unpack(tmp_path / "x.tar.gz", {"strip": "p/", "files": ["src/"]}, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out" / "src").iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["p/src/../../evil", "p/src//../../../evil", "p/src/..\\evil"])
def test_unsafe_names_are_refused(fetch: ModuleType, tmp_path: Path, name: str) -> None:
    make_tar(tmp_path / "x.tar.gz", [(name, tarfile.REGTYPE, b"x")])
    with zipfile.ZipFile(tmp_path / "x.whl", "w") as wheel:
        wheel.writestr(name, b"x")
    for archive in ("x.tar.gz", "x.whl"):
        with pytest.raises(fetch.FetchError, match="unsafe name"):
            fetch.unpack(tmp_path / archive, {"strip": "p/", "files": ["src/"]}, tmp_path / "out")
    assert not (tmp_path / "evil").exists()


@pytest.fixture
def locked(fetch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A lock of one package whose archive lies in the cache, and a pip that must not be called."""
    monkeypatch.setenv("EXECUTORCH_GGML_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    archive = tmp_path / "cache" / "x.tar.gz"
    make_tar(archive, [("p/src/a", tarfile.REGTYPE, b"a\n")])
    (tmp_path / "expected" / "src").mkdir(parents=True)
    (tmp_path / "expected" / "src" / "a").write_bytes(b"a\n")
    package = {"distribution": "x==1", "pip": [], "strip": "p/", "files": ["src/"], "patches": []}
    package |= {
        "archives": {"x.tar.gz": fetch.sha256(archive)},
        "tree_sha256": fetch.tree_sha256(tmp_path / "expected"),
    }
    monkeypatch.setattr(fetch, "LOCK", {"x": package})

    class Refused:
        returncode, stdout = 1, "pip: no"

    monkeypatch.setattr(fetch.subprocess, "run", lambda *_, **__: Refused)
    return package


def test_fetch_and_fetch_again(fetch: ModuleType, locked: dict[str, Any], tmp_path: Path) -> None:
    target = fetch.fetch("x", tmp_path / "tp")
    assert (target / "src" / "a").read_bytes() == b"a\n"
    written = (target / "src" / "a").stat().st_mtime_ns
    (tmp_path / "cache" / "x.tar.gz").unlink()  # not needed any more
    assert fetch.fetch("x", tmp_path / "tp") == target
    assert (target / "src" / "a").stat().st_mtime_ns == written
    locked["files"] = ["src/", "LICENSE"]  # another lock: the old tree does not do
    with pytest.raises(fetch.FetchError, match="pip could not get x==1"):
        fetch.fetch("x", tmp_path / "tp")


def test_a_wrong_archive_is_not_used(fetch: ModuleType, locked: dict[str, Any], tmp_path: Path) -> None:
    make_tar(tmp_path / "cache" / "x.tar.gz", [("p/src/a", tarfile.REGTYPE, b"evil\n")])
    with pytest.raises(fetch.FetchError, match=r"(?s)pip could not get x==1.*pip: no.*GGML_SOURCE_DIR"):
        fetch.fetch("x", tmp_path / "tp")
    assert not (tmp_path / "tp" / "x").exists()


def test_a_wrong_tree_is_not_used(fetch: ModuleType, locked: dict[str, Any], tmp_path: Path) -> None:
    locked["tree_sha256"] = "0" * 64
    with pytest.raises(fetch.FetchError, match="the unpacked files hash to"):
        fetch.fetch("x", tmp_path / "tp")
    assert not (tmp_path / "tp" / "x").exists()


def test_an_own_tree_is_copied_not_touched(fetch: ModuleType, locked: dict[str, Any], tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "src").mkdir(parents=True)
    (own / "src" / "a").write_text("mine\n")
    (own / "other").write_text("not selected\n")
    target = fetch.fetch("x", tmp_path / "tp", own)
    assert [path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()] == [".stamp", "src/a"]
    (own / "src" / "a").write_text("changed\n")
    assert (fetch.fetch("x", tmp_path / "tp", own) / "src" / "a").read_text() == "changed\n"
    with pytest.raises(fetch.FetchError, match="holds none of the files"):
        fetch.fetch("x", tmp_path / "tp", tmp_path / "cache")


def test_the_lock_is_complete() -> None:
    packages = json.loads((ROOT / "third-party" / "lock.json").read_text())["packages"]
    assert {"llama.cpp", "highway", "executorch"} <= set(packages)
    for name, package in packages.items():
        assert {"use", "version", "licence", "distribution", "archives", "files", "tree_sha256"} <= set(package), name
        for digest in [package["tree_sha256"], *package["archives"].values()]:
            assert re.fullmatch(r"[0-9a-f]{64}", digest), name
        assert "==" in package["distribution"]
        for patch in package["patches"]:
            assert (ROOT / "third-party" / "patches" / patch).is_file()


def test_patches_fit_the_tree_that_was_built(fetch: ModuleType) -> None:
    """The unpacked tree of this checkout, if there is one, carries the marks of every patch."""
    tree = ROOT / "build" / "third-party" / "llama.cpp"
    if not (tree / ".stamp").is_file():
        pytest.skip("nothing has been built here")
    assert (tree / ".stamp").read_text() == fetch.stamp_key("llama.cpp", None)
    assert "etggml_barrier_wait(" in (tree / "ggml/src/ggml-cpu/ggml-cpu.c").read_text()


def test_an_outer_pip_does_not_speak_to_the_inner_one(fetch: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_PYPROJECT_HOOKS_BACKEND_PATH", "/somewhere")
    monkeypatch.setenv("_PYPROJECT_HOOKS_BUILD_BACKEND", "build_backend")
    monkeypatch.setenv("PIP_BUILD_TRACKER", "/tmp/tracker")
    monkeypatch.setenv("PIP_INDEX_URL", "https://example.org/simple")
    environment = fetch.pip_environment()
    assert not [key for key in environment if key.startswith(("_PYPROJECT_HOOKS_", "PIP_BUILD_TRACKER"))]
    assert environment["PIP_INDEX_URL"] == "https://example.org/simple"


def test_a_stand_in_answers_pip_for_a_build_backend(
    fetch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = fetch.stand_in("somebackend", "some-name==1.2", tmp_path / "backend")
    monkeypatch.syspath_prepend(environment["PYTHONPATH"])
    folder = importlib.import_module("somebackend").prepare_metadata_for_build_wheel(str(tmp_path), {"any": "setting"})
    metadata = email.message_from_string((tmp_path / folder / "METADATA").read_text())
    assert (metadata["Name"], metadata["Version"]) == ("some-name", "1.2")
