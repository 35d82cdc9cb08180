"""The file of an operator is found by the operator's name: it is the file's name, or the file's docstring has it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from executorch_ggml.aot import ops, registry

FILES = sorted(Path(ops.__file__).parent.glob("*.py"))
NAMED = re.compile(r"`([\w:]+)`")

pytestmark = pytest.mark.quick


def names(path: Path) -> set[str]:
    """The operators that a file claims to hold."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    single = re.sub(r"``.*?``", "", docstring, flags=re.DOTALL)  # two backticks quote code, one names an operator
    return {path.stem, *NAMED.findall(single)}


def test_each_operator_has_one_file() -> None:
    claims = {path: names(path) for path in FILES if not path.stem.startswith("_")}
    lost = []
    for target in {registry.operator_name(entry.target) for entry in registry.entries()}:
        found = [path.name for path, claimed in claims.items() if target in claimed]
        found = found or [path.name for path, claimed in claims.items() if target.removesuffix("_copy") in claimed]
        if len(found) != 1:
            lost.append(f"{target}: {found}")
        elif not re.search(rf'[.":]{target.rpartition(":")[2]}\b', (FILES[0].parent / found[0]).read_text("utf-8")):
            lost.append(f"{target}: {found[0]} names it and does not register it")
    assert not lost, "each operator is named by one file, as docs/adding-an-op.md says:\n" + "\n".join(sorted(lost))


def test_helpers_register_nothing() -> None:
    """Files with an underscore are for other files: a lowering in one could not be found by its operator."""
    for path in FILES:
        if path.stem.startswith("_") and path.stem not in ("__init__", "_unary"):
            assert not re.search(r"^@register|^register\(", path.read_text(encoding="utf-8"), re.MULTILINE), path.name
