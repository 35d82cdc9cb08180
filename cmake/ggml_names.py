"""Writes a header that gives every function of ggml's interface a name of ours: `#define ggml_init etg_ggml_init`.

Other packages bring a ggml of their own. One that is loaded with global symbols comes before ours in the loader's
search, and an unversioned definition satisfies a versioned reference: only another name keeps them apart.

usage: ggml_names.py <ggml directory> <header to write>
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PREFIX = "etg_"
# ggml looks these up by their names, in the module that it has just opened.
LOOKED_UP = {"ggml_backend_init", "ggml_backend_score"}
# Used across libraries, by us, without a mark in ggml's headers.
UNMARKED = {"ggml_graph_next_uid"}

_NO_CODE = re.compile(r"//[^\n]*|/\*.*?\*/|^[ \t]*#[^\n]*", re.S | re.M)
_DECLARATION = re.compile(r"\bGGML_(?:BACKEND_)?API\s[^();{}=]*?\b(\w+)\s*[(\[;]")


def exported(header: str) -> set[str]:
    """Names that a header of ggml's declares for use outside the library that defines them."""
    return set(_DECLARATION.findall(_NO_CODE.sub("", header))) - LOOKED_UP


def header_text(names: set[str]) -> str:
    lines = [f"#define {name} {PREFIX}{name}" for name in sorted(names)]
    return "// Made by cmake/ggml_names.py, included before everything else.\n#pragma once\n" + "\n".join(lines) + "\n"


def main(ggml: Path, target: Path) -> int:
    names = set(UNMARKED)
    for header in sorted([*ggml.glob("include/*.h"), *ggml.glob("src/**/*.h")]):
        names |= exported(header.read_text(encoding="utf-8"))
    if "ggml_init" not in names:
        print(f"{ggml}: its headers declare no interface", file=sys.stderr)
        return 1
    text = header_text(names)
    # An unchanged header must not rebuild everything.
    if not target.exists() or target.read_text(encoding="utf-8") != text:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
