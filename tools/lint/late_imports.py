"""Imports of our own modules inside functions: each needs a comment that says why it is not at the top of the file.

    python tools/lint/late_imports.py [root]

The comment stands on the line of the import, or above the block of imports. A block without one is printed, and the
exit status is 1.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "executorch_ggml"


def problems(root: Path) -> Iterator[str]:
    """One line for each import of our own inside a function that gives no reason."""
    for path in sorted((root / PACKAGE).rglob("*.py")):
        lines = path.read_text(encoding="utf-8").splitlines()
        tree = ast.parse("\n".join(lines))
        for function in ast.walk(tree):
            if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                for node in _own_imports(function):
                    if not _has_reason(lines, node):
                        yield f"{path.relative_to(root)}:{node.lineno}: {ast.unparse(node)}: why is it imported here?"


def _own_imports(function: ast.AST) -> Iterator[ast.ImportFrom | ast.Import]:
    for node in ast.iter_child_nodes(function):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        if isinstance(node, (ast.ImportFrom, ast.Import)):
            if _is_own(node):
                yield node
        else:
            yield from _own_imports(node)


def _is_own(node: ast.ImportFrom | ast.Import) -> bool:
    if isinstance(node, ast.ImportFrom):
        return bool(node.level) or (node.module or "").split(".")[0] == PACKAGE
    return any(alias.name.split(".")[0] == PACKAGE for alias in node.names)


def _has_reason(lines: list[str], node: ast.stmt) -> bool:
    """A comment on the import's lines, or right above the imports that it stands among."""
    if any("#" in line for line in lines[node.lineno - 1 : node.end_lineno]):
        return True
    above = node.lineno - 2
    while above >= 0 and (not lines[above].strip() or lines[above].strip().startswith(("from ", "import "))):
        above -= 1
    return above >= 0 and lines[above].strip().startswith("#")


def main(arguments: list[str]) -> int:
    """Exit status: 0 when every late import has a reason."""
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parents[2]
    found = list(problems(root))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
