"""`run --json-schema`, `--grammar`, `--regex`, and in a conversation."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from shared_models import TinyLlm
from typer.testing import CliRunner, Result

from executorch_ggml.cli.main import app

SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}


def cli(*arguments: object, input: str | None = None) -> Result:
    environment = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"}
    return CliRunner().invoke(app, [str(a) for a in arguments], env=environment, input=input)


@pytest.fixture
def given(bundled: TinyLlm) -> list[object]:
    pytest.importorskip("llguidance")
    return [bundled.pte, "In the", "-g", bundled.gguf, "-t", 1, "-q"]


def test_schema(given: list[object], tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(SCHEMA))
    for source in (file, json.dumps(SCHEMA)):
        result = cli("run", *given, "--json-schema", source)
        assert result.exit_code == 0, result.output
        assert isinstance(json.loads(result.stdout.removeprefix("In the"))["ok"], bool)
    facts = json.loads(cli("run", *given, "--json", "--json-schema", file).stdout)
    assert (facts["finish_reason"], list(json.loads(facts["text"]))) == ("stop", ["ok"])


def test_grammar_and_regex(given: list[object], tmp_path: Path) -> None:
    file = tmp_path / "g.lark"
    file.write_text('start: "yes" | "no"')
    assert cli("run", *given, "--grammar", file).stdout in ("In theyes\n", "In theno\n")
    assert re.fullmatch("In the [0-9]{4}\n", cli("run", *given, "--regex", " [0-9]{4}").stdout)


def test_errors(given: list[object], tmp_path: Path) -> None:
    for options, words in (
        (["--json-schema", '{"properties": {"a": {"type": "x"}}}'], "#/properties/a"),
        (["--json-schema", tmp_path / "none.json"], "none.json"),
        (["--grammar", tmp_path / "none.lark"], "none.lark"),
        (["--regex", "a", "--grammar", tmp_path / "none.lark"], "one of them"),
        (["--regex", "("], "unclosed group"),
    ):
        result = cli("run", *given, *options)
        assert (result.exit_code, result.stdout) == (1, "")
        assert words in result.stderr


def test_in_a_conversation(given: list[object], tmp_path: Path) -> None:
    template, saved = tmp_path / "t.jinja", tmp_path / "talk.json"
    template.write_text("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
    result = cli(
        "chat", given[0], *given[2:], "--chat-template", template, "--regex", "(yes|no)", input=f"a\nb\n/save {saved}\n"
    )
    assert result.exit_code == 0, result.output
    answers = [m["content"] for m in json.loads(saved.read_text())["messages"] if m["role"] == "assistant"]
    assert len(answers) == 2
    assert set(answers) <= {"yes", "no"}
