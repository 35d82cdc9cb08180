#!/usr/bin/env python3
"""docs/environment-variables.md lists every environment variable that the project reads, and no other.

    python tools/lint/environment.py [ROOT]

Names come from the first column of the tables with the header "variable". Those below a heading with "other software"
are for programs that are not ours: they must be mentioned somewhere, the others must be read somewhere.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import environment_reads

PAGE = "docs/environment-variables.md"
PLACES = (
    *("csrc", "executorch_ggml", "executorch_ggml_cuda", "executorch_ggml_vulkan", "executorch_ggml_rpc", "examples", "runner", "tests"),
    *(
        "benchmarks",
        "cmake",
        "third-party",
        "tools",
        ".ci",
        "build_backend.py",
        "CMakeLists.txt",
        "Makefile",
        "mkdocs.yml",
    ),
)
SUFFIXES = {*environment_reads.NATIVE, ".py", ".cmake", ".sh", ".txt", ".yml", ""}
# Written by the build, not by us.
GENERATED = {"lib", "bin", "include", "_ggml_ir.py", "__pycache__"}


def sources(root: Path) -> dict[Path, str]:
    """Text of every file that may read a variable."""
    files = {}
    for place in PLACES:
        top = root / place
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            inside = path.relative_to(root)
            generated = inside.parts[0].startswith("executorch_ggml") and GENERATED & {*inside.parts}
            if path.is_file() and path.suffix in SUFFIXES and not generated and "__pycache__" not in inside.parts:
                files[path] = path.read_text(encoding="utf-8", errors="replace")
    return files


def documented(page: str) -> tuple[dict[str, int], dict[str, int]]:
    """Names of the page with their lines: those that we read, and those that other software reads."""
    ours: dict[str, int] = {}
    foreign: dict[str, int] = {}
    into = ours
    header = ""
    for number, line in enumerate(page.splitlines(), 1):
        first = line.split("|")[1].strip() if line.startswith("|") else ""
        header = (header or first) if first else ""
        if line.startswith("#"):
            into = foreign if "other software" in line.lower() else ours
        elif header == "variable":
            for name in re.findall(r"`([A-Za-z_]\w*)(?:=[^`]*)?`", first):
                into.setdefault(name, number)
    return ours, foreign


def problems(root: Path) -> list[str]:
    """One line for each difference between the page and the code."""
    page = root / PAGE
    if not page.is_file():
        return [f"{PAGE} is missing: it lists the environment variables"]
    ours, foreign = documented(page.read_text(encoding="utf-8"))
    files = sources(root)
    found: list[str] = []
    read: set[str] = set()
    for path, (name, line) in environment_reads.reads(files):
        where = f"{path.relative_to(root)}:{line}"
        if name == environment_reads.UNKNOWN:
            found.append(f"{where} reads a variable whose name is computed: write the name as a literal")
        elif name not in ours and name not in read:
            found.append(f"{where} reads {name}, which {PAGE} does not list: add a row for it")
        read.add(name)
    for name, line in ours.items():
        if name not in read:
            found.append(f"{PAGE}:{line} lists {name}, which nothing reads: remove the row, or correct the name")
    text = "\n".join(files.values())
    for name, line in foreign.items():
        if not re.search(rf"\b{name}\b", text):
            found.append(f"{PAGE}:{line} lists {name}, which nothing here sets or mentions: remove the row")
    return found


def main() -> int:
    """1 when page and code differ."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2]
    found = problems(root.resolve())
    print("\n".join(found), end="\n" if found else "")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
