"""The options for answers that keep to a JSON schema, a grammar or a regular expression."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypedDict

import typer

from executorch_ggml.errors import InvalidArgumentError

from .options import read_text

_PANEL = "Form of the answer (needs executorch-ggml[grammar])"

JsonSchema = Annotated[
    str | None,
    typer.Option(
        "--json-schema",
        metavar="FILE|TEXT",
        help="JSON that satisfies this schema; TEXT begins with {.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
Grammar = Annotated[
    Path | None,
    typer.Option(
        "--grammar", metavar="FILE", help="A text of this Lark grammar.", show_default=False, rich_help_panel=_PANEL
    ),
]
Regex = Annotated[
    str | None,
    typer.Option(
        "--regex",
        metavar="PATTERN",
        help="A text that matches as a whole.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]


class Structure(TypedDict):
    """Arguments of `generate`."""

    json_schema: str | None
    grammar: str | None
    regex: str | None


def structure(json_schema: str | None, grammar: Path | None, regex: str | None) -> Structure:
    """Reads the files. Raises InvalidArgumentError for two options at once, FileError and FormatError for a file."""
    given = {"--json-schema": json_schema, "--grammar": grammar, "--regex": regex}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise InvalidArgumentError(f"{' and '.join(named)}: an answer can keep to one of them only")
    if json_schema is not None and not json_schema.lstrip().startswith("{"):
        json_schema = read_text(Path(json_schema))
    return {"json_schema": json_schema, "grammar": None if grammar is None else read_text(grammar), "regex": regex}
