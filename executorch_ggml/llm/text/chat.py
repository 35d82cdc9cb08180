"""Chat templates: a conversation to the prompt text its model was trained on."""

from __future__ import annotations

import datetime
import difflib
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from jinja2.exceptions import SecurityError

from executorch_ggml.errors import FormatError, InvalidArgumentError, UnsupportedError

from .metadata import string
from .sandbox import Sandbox
from .template_budget import MAX_RESULT, Budget, weight_of
from .template_tree import MAX_TEMPLATE

Message = Mapping[str, Any]
"""``{"role": "system" | "user" | "assistant" | "tool", "content": str, ...}``; more keys as the template likes."""

_PREFIX = "tokenizer.chat_template"


class _RefusedError(Exception):
    """Raised by a template through raise_exception()."""


def select_template(metadata: Mapping[str, Any]) -> dict[str, str]:
    """The templates of a GGUF by name; the unnamed one is ``"default"``."""
    templates = {}
    for key in metadata:
        if key == _PREFIX or key.startswith(_PREFIX + "."):
            text = string(metadata, key)
            if text:
                templates[key[len(_PREFIX) + 1 :] or "default"] = text
    return templates


class ChatTemplate:
    """One compiled template. Rendering is safe on templates from anywhere and from several threads."""

    def __init__(self, source: str, *, bos_token: str = "", eos_token: str = "", name: str = "default") -> None:
        """Raises `FormatError` when ``source`` is no template, or longer than any real one."""
        if len(source) > MAX_TEMPLATE:
            raise FormatError(f"chat template {name!r} has {len(source)} characters; the limit is {MAX_TEMPLATE}")
        self._name = name
        self._environment = Sandbox()
        self._lock = threading.Lock()
        self._constants = {
            "bos_token": bos_token,
            "eos_token": eos_token,
            "raise_exception": self._raise,
            "strftime_now": _now,
        }
        try:
            self._template = self._environment.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise FormatError(f"chat template {name!r}, line {error.lineno}: {_short(error.message)}") from error
        except (jinja2.TemplateError, RecursionError, MemoryError, SyntaxError, ValueError) as error:
            raise FormatError(f"chat template {name!r} cannot be compiled: {_short(error)}") from error

    @classmethod
    def select(cls, templates: Mapping[str, str], name: str, *, bos_token: str, eos_token: str) -> ChatTemplate:
        """The template of that name; ``name`` may also be the source of a template."""
        source = templates.get(name)
        if source is None and ("{{" in name or "{%" in name):
            source, name = name, "given by the caller"
        if source is None:
            if not templates:
                raise UnsupportedError(
                    "the GGUF has no chat template (tokenizer.chat_template): give the prompt as text or pass one"
                )
            near = difflib.get_close_matches(name, templates, n=1)
            raise InvalidArgumentError(
                f"the GGUF has no chat template {name!r}; it has {', '.join(sorted(templates))}"
                + (f" (did you mean {near[0]!r}?)" if near else "")
            )
        return cls(source, bos_token=bos_token, eos_token=eos_token, name=name)

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        **variables: Any,
    ) -> str:
        """The prompt for ``messages``. ``variables`` reach the template as they are (``enable_thinking=False``).

        Raises `InvalidArgumentError` when a message is malformed or the template refuses the conversation,
        `FormatError` when the template is faulty or does what templates must not do.
        """
        conversation = [_plain(message, i) for i, message in enumerate(messages)]
        try:
            size = weight_of([conversation, tools, documents, variables])
        except SecurityError as error:
            raise InvalidArgumentError(f"the conversation, its tools or its variables: {error}") from None
        context = {
            **self._constants,
            "messages": conversation,
            "add_generation_prompt": add_generation_prompt,
            "tools": list(tools) if tools else None,
            "documents": list(documents) if documents else None,
            **variables,
        }
        with self._lock:
            # Long conversations are work, too. What is made of one may be four times as long in any one value.
            self._environment.budget = Budget(4_000_000 + 64 * size, MAX_RESULT + 4 * size)
            try:
                return self._template.render(context)
            except _RefusedError as error:
                raise InvalidArgumentError(f"the chat template refuses this conversation: {error}") from None
            except SecurityError as error:
                raise FormatError(f"chat template {self._name!r} was stopped: {_short(error)}") from None
            except jinja2.TemplateError as error:
                raise FormatError(f"chat template {self._name!r} failed: {_short(error.message or error)}") from error
            except Exception as error:  # whatever Python raises inside foreign code
                reason = f"{type(error).__name__}: {_short(error)}"
                raise FormatError(f"chat template {self._name!r} failed: {reason}") from error

    def _raise(self, message: Any) -> None:
        raise _RefusedError(_short(self._environment.budget.text(message)))


def _plain(message: Message, index: int) -> dict[str, Any]:
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise InvalidArgumentError(f"messages[{index}] is not a mapping with a 'role'")
    if "content" not in message and "tool_calls" not in message:
        raise InvalidArgumentError(f"messages[{index}] has no 'content'")
    return dict(message)


def _now(pattern: str) -> str:
    return datetime.datetime.now().strftime(pattern[:256])


def _short(reason: object) -> str:
    """The text of an error, which may quote a value of any length."""
    text = str(reason)
    return text if len(text) <= 500 else f"{text[:500]}..."
