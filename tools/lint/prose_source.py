"""Prose of source files: the docstrings and comments of Python, the comments of C++, CUDA and FlatBuffers schemas."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator

from prose_rules import CODE, MOST_COLUMNS, Prose

Line = tuple[int, str]  # its number and its text

_DIRECTIVE = re.compile(
    r"^\s*(!|noqa|type:|mypy:|fmt:|ruff:|pragma|SPDX|NOLINT|clang-format|IWYU|namespace\b|#?(if|endif|else)\b[^.]*$)"
)
_ITEM = re.compile(r"^(\s*)([-*•]|\d+[.)]|\(?[a-z]\)|@\w+)\s+(?=\S)")
_SECTION = re.compile(r"^(Args|Arguments|Attributes|Returns|Raises|Yields|Keyword Args):\s*$")
_TABLE_ROW = re.compile(r"\S {3,}\S")
_CODE = re.compile(r"``[^`\n]+``|`[^`\n]+`")
_CPP_TOKENS = re.compile(
    r"""(?P<string>R"(?P<tag>\w*)\((?s:.*?)\)(?P=tag)"|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])')"""
    r"""|(?P<line>//[^\n]*)|(?P<block>/\*(?s:.*?)\*/)"""
)


def python_paragraphs(source: str) -> Iterator[Prose]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _docstring(node, source)
    yield from _comments(_python_comments(source))


def _docstring(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, source: str
) -> Iterator[Prose]:
    first = node.body[0] if node.body else None
    if ast.get_docstring(node) is None or not isinstance(first, ast.Expr):
        return
    # The literal's own lines, so that a line number stays right after escapes.
    text = ast.get_source_segment(source, first.value) or ""
    lines = re.sub(r'^\w*("""|\'\'\'|"|\')|("""|\'\'\'|"|\')$', "", text).splitlines()
    indents = [len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()]
    indent = min(indents, default=0)
    cleaned = [lines[0].strip() if lines else "", *(line[indent:] for line in lines[1:])]
    yield from _blocks([(first.lineno + i, line.rstrip()) for i, line in enumerate(cleaned)])


def _python_comments(source: str) -> Iterator[tuple[int, int, bool, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            alone = not token.line[: token.start[1]].strip()
            yield token.start[0], token.start[1], alone, re.sub(r"^#+:? ?", "", token.string)


def cpp_paragraphs(source: str) -> Iterator[Prose]:
    yield from _comments(_cpp_comments(source))


def _cpp_comments(source: str) -> Iterator[tuple[int, int, bool, str]]:
    for found in _CPP_TOKENS.finditer(source):
        if found["string"] is not None:
            continue
        before = source.rfind("\n", 0, found.start()) + 1
        line, column = source.count("\n", 0, found.start()) + 1, found.start() - before
        alone = not source[before : found.start()].strip()
        if found["line"] is not None:
            yield line, column, alone, re.sub(r"^//+[!<]* ?", "", found["line"])
            continue
        body = re.sub(r"^/\*+[!<]*|\*/$", "", found["block"])
        for i, text in enumerate(body.splitlines()):
            yield line + i, column, alone or i > 0, re.sub(r"^\s*\* ?|^ ", "", text).rstrip()


def _comments(comments: Iterator[tuple[int, int, bool, str]]) -> Iterator[Prose]:
    """Comment lines that follow each other in one column are one text; a comment behind code stands alone."""
    block: list[Line] = []
    last = (-1, -1)
    for line, column, alone, text in comments:
        if block and (not alone or last != (line - 1, column)):
            yield from _blocks(block)
            block = []
        text = re.sub(r"\s*(#\s*)?(type: ignore\S*|noqa.*|NOLINT.*)$", "", text)
        block.append((line, "" if _DIRECTIVE.match(text) else text.rstrip()))
        # Lines may follow a comment behind code in its own column, as clang-format puts them.
        last = (line, column)
    yield from _blocks(block)


def _blocks(lines: list[Line]) -> Iterator[Prose]:
    """Splits a text into paragraphs and items, and leaves out code: indented lines and those between fences."""
    part: list[Line] = []
    base, section, literal, fenced = 0, False, False, False
    for number, line in [*lines, (0, "")]:
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        item = _ITEM.match(line)
        if text.startswith("```"):
            fenced = not fenced
            text = ""
        if not text or fenced or not any(c.isalnum() for c in text):
            yield from _paragraph(part)
            part = []
            continue
        if _SECTION.match(line):
            yield from _paragraph(part)
            part, section, literal = [], True, False
            continue
        section = section and indent > 0
        if text.endswith("::") and " " not in text:  # the heading of an example
            yield from _paragraph(part)
            part, base, literal = [], indent, True
            continue
        if text.startswith(">>>") or (literal and indent > base) or (indent >= 4 and not (section or item or part)):
            continue
        literal = False
        if item or (section and indent <= 4) or _TABLE_ROW.search(text):
            yield from _paragraph(part)
            part = []
        elif part and not section and part[-1][1].endswith(":") and indent > base + 1:
            continue  # a formula or a drawing below its introduction
        if not part:
            base = indent
        part.append((number, line[item.end() :] if item else text))
        if text.endswith("::"):
            literal = True
    yield from _paragraph(part)


def _paragraph(lines: list[Line]) -> Iterator[Prose]:
    if lines:
        text = _CODE.sub(CODE, "\n".join(text for _, text in lines))
        yield Prose(text, lines[0][0])


def long_lines(source: str) -> list[int]:
    return [number for number, line in enumerate(source.splitlines(), 1) if len(line) > MOST_COLUMNS]
