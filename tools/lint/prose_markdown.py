"""Prose of a Markdown page: paragraphs, list items, quotes, headings and table cells, without code and addresses."""

from __future__ import annotations

from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token
from prose_rules import CODE, MOST_COLUMNS, Prose

_PARSER = MarkdownIt("commonmark").enable("table")
_CELLS = {"td_open", "th_open"}


def paragraphs(source: str) -> Iterator[Prose]:
    container, line = "", 1
    for token in _PARSER.parse(source):
        if token.map:
            line = token.map[0] + 1
        if token.type.endswith("_open"):
            container = token.type
        elif token.type == "inline":
            yield Prose(_text(token), line, counted=container not in _CELLS and container != "heading_open")


def _text(token: Token) -> str:
    return "".join(_part(child) for child in token.children or [])


def _part(child: Token) -> str:
    if child.type == "code_inline":
        return CODE
    if child.type in ("softbreak", "hardbreak"):
        return "\n"
    if child.type == "html_inline":
        return ""
    return child.content  # text, and the description of an image; an opening mark has none


def long_lines(source: str) -> list[int]:
    """Lines that are too long. Code and rows of tables cannot be broken, nor can a line without a space."""
    unbreakable: set[int] = set()
    for token in _PARSER.parse(source):
        if token.type in ("fence", "code_block", "html_block", "table_open") and token.map:
            unbreakable.update(range(token.map[0] + 1, token.map[1] + 1))
    return [
        number
        for number, line in enumerate(source.splitlines(), 1)
        if len(line) > MOST_COLUMNS and " " in line.strip() and number not in unbreakable
    ]
