"""third-party/patches.py: patches as commits, with a version of the sources that they do not fit, and back again."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def change(old: str, new: str) -> str:
    """A patch of a line of file.c, with two lines of context."""
    at = NUMBERS.index(old)
    before, after = NUMBERS[at - 2 : at], NUMBERS[at + 1 : at + 3]
    lines = [*(f" {n}" for n in before), f"-{old}", f"+{new}", *(f" {n}" for n in after)]
    return f"--- a/file.c\n+++ b/file.c\n@@ -{at - 1},5 +{at - 1},5 @@\n" + "".join(f"{line}\n" for line in lines)


class Tree:
    """Two patches, and the tool on sources of the test's own."""

    def __init__(self, tool: ModuleType, folder: Path) -> None:
        self.tool, self.root = tool, folder / "repository"
        self.patches, self.cache = tool.PATCHES, folder / "cache"
        self.file = self.root / "file.c"

    def sources(self, lines: list[str]) -> None:
        source = self.cache.parent / "file.c"
        source.write_text("".join(f"{line}\n" for line in lines))
        with tarfile.open(self.cache / "x.tar.gz", "w:gz") as tar:
            tar.add(source, "p/file.c")
        fetch: Any = self.tool.fetch
        lock = {"archives": {"x.tar.gz": fetch.sha256(self.cache / "x.tar.gz")}, "strip": "p/", "files": ["file.c"]}
        fetch.LOCK = {"x": lock | {"patches": ["a.patch", "b.patch"], "distribution": "x==1"}}

    def open(self) -> None:
        self.tool.open_patches("x", self.root)

    def git(self, *arguments: str) -> str:
        identity = ("-c", "user.name=x", "-c", "user.email=x@localhost")
        return subprocess.run(
            ["git", *identity, *arguments], cwd=self.root, check=True, capture_output=True, text=True
        ).stdout


@pytest.fixture
def tree(patches: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    monkeypatch.setenv("EXECUTORCH_GGML_CACHE", str(tmp_path / "cache"))
    for name in ("cache", "patches"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(patches, "PATCHES", tmp_path / "patches")
    (tmp_path / "patches" / "a.patch").write_text(change("four", "FOUR"))
    (tmp_path / "patches" / "b.patch").write_text(change("eight", "EIGHT"))
    return Tree(patches, tmp_path)


def test_patches_are_commits_and_are_written_as_they_were(tree: Tree) -> None:
    tree.sources(NUMBERS)
    before = {path.name: path.read_text() for path in tree.patches.iterdir()}
    tree.open()
    assert tree.git("log", "--reverse", "--format=%s").split() == ["pristine", "a.patch", "b.patch"]
    assert "FOUR" in tree.file.read_text()
    tree.tool.write_patches(tree.root)
    assert {path.name: path.read_text() for path in tree.patches.iterdir()} == before


def test_a_moved_hunk_is_written_where_it_is_now(tree: Tree) -> None:
    tree.sources(["new", "lines", *NUMBERS])
    tree.open()
    tree.tool.write_patches(tree.root)
    assert "@@ -4,5 +4,5 @@" in (tree.patches / "a.patch").read_text()


def test_a_patch_that_does_not_fit_is_corrected_and_the_next_one_follows(tree: Tree) -> None:
    tree.sources(["one", "two", "THREE", *NUMBERS[3:]])
    with pytest.raises(tree.tool.fetch.FetchError, match=r"a\.patch does not fit; its hunks are in file\.c\.rej"):
        tree.open()
    with pytest.raises(tree.tool.fetch.FetchError, match=r"hunks are left in file\.c\.rej"):
        tree.open()
    tree.file.write_text(tree.file.read_text().replace("four", "FOUR"))
    (tree.root / "file.c.rej").unlink()
    tree.open()
    tree.tool.write_patches(tree.root)
    text = (tree.patches / "a.patch").read_text()
    assert " THREE\n-four\n+FOUR\n" in text
    assert "EIGHT" not in text
    assert (tree.patches / "b.patch").read_text() == change("eight", "EIGHT")


def test_edits_without_a_commit_are_not_lost(tree: Tree) -> None:
    tree.sources(NUMBERS)
    tree.open()
    tree.file.write_text(tree.file.read_text().replace("five", "FIVE"))
    with pytest.raises(tree.tool.fetch.FetchError, match="not committed"):
        tree.tool.write_patches(tree.root)
    with pytest.raises(tree.tool.fetch.FetchError, match="belong to no patch"):
        tree.open()
    tree.git("commit", "--quiet", "--all", "--message", "my change")
    with pytest.raises(tree.tool.fetch.FetchError, match="'my change' is none"):
        tree.tool.write_patches(tree.root)
    tree.git("commit", "--quiet", "--amend", "--message", "c.patch")
    tree.tool.write_patches(tree.root)
    assert "+FIVE" in (tree.patches / "c.patch").read_text()
