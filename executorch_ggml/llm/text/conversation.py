"""A conversation that always fits: its messages, and the prompt for the next answer."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from executorch_ggml.errors import FormatError, InvalidArgumentError
from executorch_ggml.errors.files import open_regular, write_atomically

from .tokenizer import Tokenizer

__all__ = ["Conversation"]


class Conversation:
    """Messages, and a chat template to make prompts of them.

    Args:
        tokenizer: of the model.
        system: the system message, if there is one.
        template: a name of one of the GGUF's templates, or the source of another.
        options: variables of the template (``{"enable_thinking": False}``).
        positions: of the model's cache; None = never drop a turn.

    Raises:
        UnsupportedError: there is no chat template.
        GgmlError: the template is malformed or refuses the conversation.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        system: str | None = None,
        template: str = "default",
        options: Mapping[str, Any] | None = None,
        positions: int | None = None,
    ) -> None:
        self.tokenizer, self.template = tokenizer, template
        self.system = system
        self.options = dict(options or {})
        self.positions = positions
        self.turns: list[dict[str, str]] = []
        """messages of the user and answers, the oldest first; the system message is not among them"""
        self._render([{"role": "user", "content": ""}])  # no template: say so now

    def ask(self, text: str) -> int:
        """Adds a message of the user. Returns the number of messages that were dropped to make room for an answer.

        Raises InvalidArgumentError, and changes nothing, when the message alone is too long.
        """
        turns = [*self.turns, {"role": "user", "content": text}]
        dropped = 0
        while self.positions is not None and len(self._encode(turns)) + self._reserve() > self.positions:
            # A question leaves with its answer: templates want them in turn.
            count = next((i for i, turn in enumerate(turns[1:], 1) if turn["role"] == "user"), None)
            if count is None:
                raise InvalidArgumentError(
                    f"this message does not fit: it has {len(self._encode(turns))} tokens, the context has "
                    f"{self.positions} positions, and {self._reserve()} are kept for the answer"
                )
            turns, dropped = turns[count:], dropped + count
        self.turns = turns
        return dropped

    def prompt(self) -> list[int]:
        """Token ids for the next answer."""
        return self._encode(self.turns)

    def answered(self, text: str) -> None:
        """Adds the answer of the model."""
        self.turns.append({"role": "assistant", "content": text})

    def withdraw(self) -> None:
        """Takes the last message of the user back: no answer came."""
        if self.turns and self.turns[-1]["role"] == "user":
            self.turns.pop()

    def clear(self) -> None:
        """Forgets all but the system message."""
        self.turns = []

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a JSON file with the messages. Raises FileError."""
        text = json.dumps({"messages": self._messages(self.turns)}, indent=2, ensure_ascii=False)
        write_atomically(path, lambda file: file.write(text.encode("utf-8", "replace")))

    def load(self, path: str | os.PathLike[str]) -> None:
        """Takes the messages of a file that `save` wrote, also with another model.

        Raises FileError, FormatError, or the error of a template that refuses them, and changes nothing then.
        """
        with open_regular(path) as file:
            raw = file.read()
        try:
            messages = json.loads(raw)["messages"]
            read = [{"role": str(item["role"]), "content": item["content"]} for item in messages]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise FormatError(f"{Path(path)}: this is no saved conversation: {error!r:.200}") from error
        if not all(isinstance(item["content"], str) for item in read):
            raise FormatError(f"{Path(path)}: a message of the conversation is no text")
        kept = self.system
        self.system = read.pop(0)["content"] if read and read[0]["role"] == "system" else None
        try:
            self._render([*read, {"role": "user", "content": ""}])  # another model's template may refuse: say so now
        except BaseException:
            self.system = kept
            raise
        self.turns = read

    def _reserve(self) -> int:
        return min(512, (self.positions or 0) // 4)

    def _messages(self, turns: list[dict[str, str]]) -> list[dict[str, str]]:
        return ([{"role": "system", "content": self.system}] if self.system else []) + turns

    def _render(self, turns: list[dict[str, str]]) -> str:
        return self.tokenizer.render_chat([*self._messages(turns)], template=self.template, **self.options)

    def _encode(self, turns: list[dict[str, str]]) -> list[int]:
        return self.tokenizer.encode_chat([*self._messages(turns)], template=self.template, **self.options)
