"""Conversations: dropping the oldest turns, files, errors that change nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shared_models import TinyLlm

from executorch_ggml.errors import FormatError, InvalidArgumentError, UnsupportedError
from executorch_ggml.llm.text.conversation import Conversation
from executorch_ggml.llm.text.tokenizer import Tokenizer

TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"


@pytest.fixture
def tokenizer(bundled: TinyLlm) -> Tokenizer:
    return Tokenizer.from_gguf(bundled.gguf)


def test_no_template(tokenizer: Tokenizer) -> None:
    with pytest.raises(UnsupportedError, match=r"tokenizer\.chat_template"):
        Conversation(tokenizer)


def test_the_oldest_turns_leave(tokenizer: Tokenizer) -> None:
    talk = Conversation(tokenizer, system="Be kind.", template=TEMPLATE, positions=100)
    dropped = []
    for i in range(8):
        dropped.append(talk.ask(f"question {i} of the king"))
        assert len(talk.prompt()) <= 75  # a quarter is kept for the answer
        assert talk.turns[0]["role"] == "user"
        talk.answered("the answer of the king")
    assert dropped[0] == 0
    assert sum(dropped) % 2 == 0  # a question with its answer
    assert sum(dropped) + len(talk.turns) == 16
    assert talk.tokenizer.decode(talk.prompt()).startswith("system: Be kind.")


def test_a_message_that_never_fits(tokenizer: Tokenizer) -> None:
    talk = Conversation(tokenizer, template=TEMPLATE, positions=100)
    talk.ask("short")
    talk.answered("yes")
    with pytest.raises(InvalidArgumentError, match="100 positions"):
        talk.ask("word " * 200)
    assert [turn["content"] for turn in talk.turns] == ["short", "yes"]


def test_files(tokenizer: Tokenizer, tmp_path: Path) -> None:
    talk = Conversation(tokenizer, system="Be kind.", template=TEMPLATE)
    talk.ask("caf\u00e9?")
    talk.answered("yes")
    talk.save(tmp_path / "talk.json")
    other = Conversation(tokenizer, template=TEMPLATE)
    other.load(tmp_path / "talk.json")
    assert (other.system, other.turns) == (talk.system, talk.turns)
    for bad in ("", "[]", '{"messages": [{"role": "user"}]}', '{"messages": [{"role": "user", "content": 3}]}'):
        (tmp_path / "bad.json").write_text(bad)
        with pytest.raises(FormatError, match=r"bad\.json"):
            other.load(tmp_path / "bad.json")
    assert other.turns == talk.turns
    assert json.loads((tmp_path / "talk.json").read_text())["messages"][0]["role"] == "system"


def test_withdraw_and_clear(tokenizer: Tokenizer) -> None:
    talk = Conversation(tokenizer, template=TEMPLATE)
    talk.ask("one")
    talk.answered("two")
    talk.withdraw()  # the last message is an answer
    assert len(talk.turns) == 2
    talk.ask("three")
    talk.withdraw()
    assert len(talk.turns) == 2
    talk.clear()
    assert talk.turns == []
