"""Finds the environment variables that source code reads, each in the way of its language.

A place that reads a variable whose name cannot be told from the text is reported as the name "?".
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

UNKNOWN = "?"

# bash sets these itself.
_BASH_OWN = {"BASH_SOURCE", "EUID", "FUNCNAME", "IFS", "LINENO", "OPTARG", "OPTIND", "PIPESTATUS", "RANDOM", "SECONDS"}


class Read(NamedTuple):
    """A variable and the line that reads it."""

    name: str
    line: int


def _line(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


# ---- Python ---------------------------------------------------------------------------------------------------------


def python_constants(text: str) -> dict[str, str]:
    """Module-level names of string literals: ``LIBRARY_VARIABLE = "EXECUTORCH_GGML_LIBRARY"``."""
    return {
        target.id: node.value.value
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _is_environ(node: ast.AST) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr == "environ") or (
        isinstance(node, ast.Name) and node.id == "environ"
    )


def _python_key(node: ast.AST) -> ast.expr | None:
    """The expression that names the variable, if this node reads one."""
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and _is_environ(node.value):
        return node.slice
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
        return node.left if _is_environ(node.comparators[0]) else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
        method, owner = node.func.attr, node.func.value
        if method == "getenv" or (method in ("get", "pop", "setdefault") and _is_environ(owner)):
            return node.args[0]
    return None


def python(text: str, constants: dict[str, str]) -> Iterator[Read]:
    """Reads through ``os.environ`` and ``os.getenv``; ``constants`` are names of string literals of other modules."""
    known = {**constants, **python_constants(text)}
    for node in ast.walk(ast.parse(text)):
        key = _python_key(node)
        if key is None:
            continue
        if isinstance(key, ast.Constant):
            yield Read(str(key.value), key.lineno)
        else:
            name = key.attr if isinstance(key, ast.Attribute) else key.id if isinstance(key, ast.Name) else ""
            yield Read(known.get(name, UNKNOWN), key.lineno)


# ---- C and C++ ------------------------------------------------------------------------------------------------------

_WRAPPER = re.compile(r"(\w+)\(const char\s*\*\s*(\w+)\)\s*\{[^}]*\bgetenv\(\2\)")


def native_wrappers(text: str) -> set[str]:
    """Functions that hand their only argument to ``getenv``."""
    return {match[1] for match in _WRAPPER.finditer(text)}


def native(text: str, wrappers: Iterable[str]) -> Iterator[Read]:
    """Reads through ``getenv`` and through wrappers of it, those of this file included."""
    own = list(_WRAPPER.finditer(text))
    names = "|".join(sorted({"getenv", "secure_getenv", *wrappers, *(match[1] for match in own)}))
    for call in re.finditer(rf"\b(?:{names})\(\s*([^\s)]+)", text):
        literal = re.fullmatch(r'"(\w+)"', call[1])
        if literal:
            yield Read(literal[1], _line(text, call.start()))
        elif not any(match.start() <= call.start() < match.end() for match in own):
            yield Read(UNKNOWN, _line(text, call.start()))


# ---- CMake, make, MkDocs, bash --------------------------------------------------------------------------------------


def cmake(text: str) -> Iterator[Read]:
    """``$ENV{NAME}`` and ``DEFINED ENV{NAME}``, where NAME may be the variable of a ``foreach``."""
    code = re.sub(r"(?m)#.*$", "", text)
    loops = {match[1]: match[2].split() for match in re.finditer(r"foreach\(\s*(\w+)\s+([^)]*)\)", code)}
    for match in re.finditer(r"\bENV\{(?:\$\{(\w+)\}|(\w+))\}", code):
        for name in [match[2]] if match[2] else loops.get(match[1], [UNKNOWN]):
            yield Read(name, _line(code, match.start()))


def makefile(text: str) -> Iterator[Read]:
    """``NAME ?= value`` takes the environment's value first."""
    for match in re.finditer(r"(?m)^(\w+)\s*\?=", text):
        yield Read(match[1], _line(text, match.start()))


def mkdocs(text: str) -> Iterator[Read]:
    """``!ENV [NAME, default]``"""
    for match in re.finditer(r"!ENV\s+\[?\s*(\w+)", text):
        yield Read(match[1], _line(text, match.start()))


def bash(text: str) -> Iterator[Read]:
    """Names in capitals that the script does not set itself, or for which it has a default (``${NAME:-...}``)."""
    code = re.sub(r"(?m)(^|\s)#.*$", r"\1", text)
    given = set(re.findall(r"\b([A-Z]\w*)\+?=", code)) | set(re.findall(r"\b(?:for|read(?: -\w+)*)\s+([A-Z]\w*)", code))
    for match in re.finditer(r"\$(?:([A-Z][A-Z0-9_]*)\b|\{([A-Z][A-Z0-9_]*)(:?[-?+=])?)", code):
        name = match[1] or match[2]
        if name not in _BASH_OWN and (match[3] or name not in given):
            yield Read(name, _line(code, match.start()))


# ---- files ----------------------------------------------------------------------------------------------------------


def reads(files: dict[Path, str]) -> Iterator[tuple[Path, Read]]:
    """All reads of all files, each by the rules of its language."""
    native_files = {path: text for path, text in files.items() if path.suffix in NATIVE}
    python_files = {path: text for path, text in files.items() if path.suffix == ".py"}
    wrappers = {name for path, text in native_files.items() if path.suffix == ".h" for name in native_wrappers(text)}
    constants = {name: value for text in python_files.values() for name, value in python_constants(text).items()}
    for path, text in files.items():
        if path in native_files:
            found = native(text, wrappers)
        elif path in python_files:
            found = python(text, constants)
        elif path.name == "CMakeLists.txt" or path.suffix == ".cmake":
            found = cmake(text)
        elif path.name == "Makefile":
            found = makefile(text)
        elif path.name == "mkdocs.yml":
            found = mkdocs(text)
        elif path.suffix == ".sh" or re.match(r"#!.*\bbash\b", text):
            found = bash(text)
        else:
            continue
        for read in found:
            yield path, read


NATIVE = {".c", ".cc", ".cpp", ".cu", ".cuh", ".h"}
