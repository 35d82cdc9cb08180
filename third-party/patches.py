#!/usr/bin/env python3
"""Our patches as commits, to correct or extend them.

    python third-party/patches.py open     # makes build/patches: the locked sources, and a commit for each patch
    python third-party/patches.py write    # writes third-party/patches/ anew from these commits

`open` stops at a patch that does not fit. Git has left the hunks in *.rej beside their files. Edit the files, remove
the *.rej and run it again: it commits your edit as this patch and goes on. To change a patch that fits, edit and use
`git commit --fixup` and `git rebase --interactive --autosquash --root`. The subject of a commit is the patch's name.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

import fetch

PATCHES = fetch.HERE / "patches"
PRISTINE = "pristine"


def git(root: Path, *arguments: str, fails: bool = False) -> str:
    identity = ("-c", "user.name=patches.py", "-c", "user.email=patches@localhost", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *identity, *arguments], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode and not fails:
        raise fetch.FetchError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def commit(root: Path, subject: str) -> None:
    git(root, "add", "--all", "--force")
    git(root, "commit", "--quiet", "--no-verify", "--allow-empty", "--message", subject)


def subjects(root: Path) -> list[str]:
    return git(root, "log", "--reverse", "--format=%s").splitlines()


def rejected(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.rej"))


def open_patches(package: str, root: Path) -> None:
    """Makes the repository, or goes on with it after an edit."""
    lock = fetch.LOCK[package]
    if not (root / ".git").is_dir():
        root.mkdir(parents=True)
        fetch.unpack(fetch.archive(package), lock, root)
        git(root, "init", "--quiet")
        commit(root, PRISTINE)
    elif left := rejected(root):
        raise fetch.FetchError(f"hunks are left in {', '.join(left)} of {root}")
    known = subjects(root)
    waiting = [patch for patch in lock["patches"] if patch not in known]
    if git(root, "status", "--porcelain"):
        if not waiting:
            raise fetch.FetchError(f"{root} has edits that belong to no patch: commit them")
        commit(root, waiting.pop(0))
    for patch in waiting:
        git(root, "apply", "--reject", "--whitespace=nowarn", str(PATCHES / patch), fails=True)
        if left := rejected(root):
            raise fetch.FetchError(f"{patch} does not fit; its hunks are in {', '.join(left)} of {root}")
        missing = [name for name in files_of(PATCHES / patch) if not (root / name).exists()]
        if missing:
            print(f"patches: {patch} changes {', '.join(missing)}, which these sources do not have", file=sys.stderr)
        commit(root, patch)


def files_of(patch: Path) -> list[str]:
    return re.findall(r"^\+\+\+ b/(\S+)$", patch.read_text(encoding="utf-8"), re.MULTILINE)


def write_patches(root: Path) -> None:
    """One file for each commit behind the first, with two lines of context."""
    if git(root, "status", "--porcelain"):
        raise fetch.FetchError(f"{root} has edits that are not committed")
    first, *commits = git(root, "log", "--reverse", "--format=%H %s").splitlines()
    if not first.endswith(f" {PRISTINE}"):
        raise fetch.FetchError(f"the first commit of {root} is not {PRISTINE!r}")
    for line in commits:
        identity, _, name = line.partition(" ")
        if not name.endswith(".patch") or "/" in name:
            raise fetch.FetchError(f"the subject of a commit is the name of its patch, and {name!r} is none")
        text = git(root, "diff", "--no-color", "--unified=2", "--no-renames", f"{identity}~", identity)
        text = re.sub(r"^(?:diff --git|index) .*\n", "", text, flags=re.MULTILINE)
        (PATCHES / name).write_text(re.sub(r"^(@@ [^@]* @@).*", r"\1", text, flags=re.MULTILINE), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("open", "write"))
    parser.add_argument(
        "--package", default="llama.cpp", choices=[n for n, lock in fetch.LOCK.items() if lock["patches"]]
    )
    parser.add_argument("--dest", type=Path, default=fetch.HERE.parent / "build" / "patches")
    arguments = parser.parse_args()
    try:
        if arguments.what == "open":
            open_patches(arguments.package, arguments.dest)
        else:
            write_patches(arguments.dest)
    except fetch.FetchError as error:
        print(f"patches: {error}", file=sys.stderr)
        return 1
    print(arguments.dest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
