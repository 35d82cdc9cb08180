"""Writes the facts about operators in schema/ggml_ir.fbs as a table for C++ and one for Python.

flatc reads the schema's attributes and generates nothing from them. The Python table is added to the module that flatc
generates.

usage: ir_operators.py <schema> <C++ header to write> | --python <schema> <module to add to>
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

ALL, CALLER, NONE = -2, -3, -1

_COMMENT = re.compile(r"//[^\n]*")
_TABLE = re.compile(r"\btable\s+(\w+)\s*(?:\(([^)]*)\))?\s*\{((?:[^{}])*)\}")
_ATTRIBUTE = re.compile(r'(\w+)(?:\s*:\s*"([^"]*)")?\s*(?:,|$)')
_FIELD = re.compile(r"(\w+)\s*:\s*\[?(\w+)\]?[^;(]*(?:\(([^)]*)\))?\s*;")
_UNION = re.compile(r"\bunion\s+Op\s*\{([^}]*)\}")
_ENUM = re.compile(r"\benum\s+(\w+)\s*:\s*\w+\s*\{([^}]*)\}")


class SchemaError(Exception):
    """An attribute that says nothing sensible: which one, of which table."""


@dataclass(frozen=True)
class Operator:
    """The facts about one operator. Sources by number; NONE, ALL or CALLER where the schema says so."""

    name: str
    least: int
    most: int
    memory: int = NONE
    type_of: int = NONE
    writes: bool = False
    moves: int = NONE
    row_numbers: int = NONE
    axis: int = 0
    places: int = NONE
    has_fields: bool = False
    since: int = 0
    fields: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Fields that need a newer reader: (from this value on, version); from 0 on means whenever it is not 0."""


@dataclass(frozen=True)
class Schema:
    version: int
    min_reader: int
    operators: list[Operator]


def _attributes(text: str | None) -> dict[str, str]:
    return {m[1]: m[2] or "" for m in _ATTRIBUTE.finditer((text or "").strip()) if m[0]}


def _number(text: str, what: str) -> int:
    if not text.isdigit():
        raise SchemaError(f"{what}: {text!r} is not a number")
    return int(text)


def _values(body: str) -> dict[str, int]:
    """The numbers of an enumeration."""
    found: dict[str, int] = {}
    for value in body.split(","):
        name, _, number = (part.strip() for part in value.partition("="))
        found[name] = int(number) if number else max(found.values(), default=-1) + 1
    return found


def _operator(name: str, given: dict[str, str], body: str, enums: dict[str, dict[str, int]]) -> Operator:
    if "sources" not in given:
        raise SchemaError(f"table {name}: a member of the union Op needs the attribute sources")
    least, _, most = given.pop("sources").partition("..")
    facts = {"least": _number(least, f"{name}.sources"), "most": _number(most or least, f"{name}.sources")}
    if facts["least"] > facts["most"]:
        raise SchemaError(f"table {name}: sources {least}..{most}")

    def source(attribute: str, words: dict[str, int]) -> int:
        text = given.pop(attribute, None)
        if text is None or text in words:
            return NONE if text is None else words[text]
        index = _number(text, f"{name}.{attribute}")
        if index >= facts["least"]:
            raise SchemaError(f"table {name}: {attribute} names source {index} of {facts['least']}")
        return index

    facts["memory"] = source("memory", {"caller": CALLER})
    facts["type_of"] = source("type_of", {})
    if facts["type_of"] == NONE and facts["memory"] >= 0:
        facts["type_of"] = facts["memory"]
    facts["moves"] = source("moves", {"all": ALL})
    facts["places"] = source("places", {})
    facts["writes"] = given.pop("writes", None) is not None
    if facts["writes"] and facts["memory"] < 0:
        raise SchemaError(f"table {name}: writes to the memory of which source?")
    if "row_numbers" in given:
        operand, along, axis = given["row_numbers"].partition(" along ")
        given["row_numbers"] = operand
        facts["axis"] = _number(axis, f"{name}.row_numbers{along}")
    facts["row_numbers"] = source("row_numbers", {})
    facts["has_fields"] = _FIELD.search(body) is not None
    facts["since"] = _number(given.pop("since", "0"), f"{name}.since")
    if given:
        raise SchemaError(f"table {name}: unknown attribute {next(iter(given))}")
    return Operator(name, **facts, fields=_fields(name, body, enums))


def _fields(table: str, body: str, enums: dict[str, dict[str, int]]) -> dict[str, tuple[int, int]]:
    found = {}
    for name, kind, attributes in _FIELD.findall(body):
        given = _attributes(attributes)
        since = given.pop("since", None)
        if given:
            raise SchemaError(f"{table}.{name}: unknown attribute {next(iter(given))}")
        if since is None:
            continue
        value, _, version = since.rpartition(" ")
        if value and value not in enums.get(kind, ()):
            raise SchemaError(f"{table}.{name}: since {since!r}, but {kind} has no value {value!r}")
        found[name] = (enums[kind][value] if value else 0, _number(version, f"{table}.{name}.since"))
    return found


def read(text: str) -> Schema:
    """The facts that a schema states.

    Raises:
        SchemaError: an operator without the attribute ``sources``, or an attribute that says nothing sensible.
    """
    text = _COMMENT.sub("", text)
    union = _UNION.search(text)
    if union is None:
        raise SchemaError("there is no union Op")
    names = [n.strip() for n in union[1].split(",")]
    enums = {m[1]: _values(m[2]) for m in _ENUM.finditer(text)}
    tables = {m[1]: (_attributes(m[2]), m[3]) for m in _TABLE.finditer(text)}
    for name in tables:
        if name not in names and "sources" in tables[name][0]:
            raise SchemaError(f"table {name} has the attribute sources and is no member of the union Op")
    missing = [n for n in names if n not in tables]
    if missing:
        raise SchemaError(f"the union Op has {missing[0]}, which is no table")
    graph = tables["Graph"][0]
    schema = Schema(
        _number(graph.get("version", ""), "Graph.version"),
        _number(graph.get("min_reader", ""), "Graph.min_reader"),
        [_operator(n, *tables[n], enums) for n in names],
    )
    for op in schema.operators:
        newest = max([op.since, *(version for _, version in op.fields.values())])
        if newest > schema.version:
            raise SchemaError(f"table {op.name}: since {newest}, but the version of Graph is {schema.version}")
    return schema


def header(schema: Schema) -> str:
    """The table for C++: a macro, one line for an operator, in the order of the union."""
    lines = [
        f"  X({op.name}, {op.least}, {op.most}, {op.memory}, {op.type_of}, {str(op.writes).lower()}, {op.moves},"
        f" {op.row_numbers}, {op.axis}, {op.places}, {str(op.has_fields).lower()})"
        for op in schema.operators
    ]
    return (
        "// Made by cmake/ir_operators.py of schema/ggml_ir.fbs. Columns: csrc/ir/operators.h.\n#pragma once\n\n"
        f"#define ETGGML_IR_VERSION {schema.version}\n\n#define ETGGML_IR_OPERATORS(X) \\\n"
        + " \\\n".join(lines)
        + "\n"
    )


def module(schema: Schema) -> str:
    """The table for Python. Columns: executorch_ggml/ir/operators.py."""
    lines = [
        f'    "{op.name}": ({op.least}, {op.most}, {op.memory}, {op.type_of}, {op.writes}, {op.moves},'
        f" {op.row_numbers}, {op.axis}, {op.places}, {op.has_fields}, {op.since}, {op.fields!r}),"
        for op in schema.operators
    ]
    return "\n".join(
        [
            "\n# Made by cmake/ir_operators.py of schema/ggml_ir.fbs.",
            f"VERSION, MIN_READER = {schema.version}, {schema.min_reader}",
            "OPERATORS = {",
            *lines,
            "}",
            "",
        ]
    )


def main(arguments: list[str]) -> int:
    to_python = arguments[:1] == ["--python"]
    source, target = arguments[to_python:]
    try:
        schema = read(Path(source).read_text(encoding="utf-8"))
    except SchemaError as error:
        print(f"{source}: {error}", file=sys.stderr)
        return 1
    if to_python:
        text = Path(target).read_text(encoding="utf-8")
        Path(target).write_text(text + module(schema), encoding="utf-8")
    else:
        Path(target).write_text(header(schema), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
