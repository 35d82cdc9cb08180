"""The commands of a conversation: /help, /clear, ..."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from executorch_ggml.errors import GgmlError, InvalidArgumentError

from .options import echo_err

if TYPE_CHECKING:
    from executorch_ggml.llm.text.conversation import Conversation

HELP = '''\
/help           this list
/clear          forget the conversation, keep the system message
/system TEXT    another system message; without TEXT: none
/think on|off   thinking, where the model's template has that switch
/save FILE      write the conversation as JSON
/load FILE      go on with a saved conversation
/exit           leave (Ctrl-D does the same)
"""             begins and ends a message of several lines; with prompt_toolkit, Alt-Enter begins a line
Ctrl-C          ends the answer, not the program'''

_COMMAND = re.compile(r"/([a-z?]+)(?:\s+(.*))?$", re.DOTALL)
_NAMES = {"?": "help", "reset": "clear", "new": "clear", "quit": "exit", "bye": "exit"}


class Leave(Exception):  # noqa: N818 - no error
    """The person wants to leave."""


def command(text: str, conversation: Conversation) -> bool:
    """Runs a command. False: the text is a message. Errors are said, and the conversation goes on."""
    found = _COMMAND.match(text.strip())
    if found is None:
        return False
    name, argument = _NAMES.get(found[1], found[1]), (found[2] or "").strip()
    try:
        said = _run(name, argument, conversation)
    except GgmlError as error:
        said = f"error: {error}"
    if said:
        echo_err(said)
    return True


def _run(name: str, argument: str, conversation: Conversation) -> str:
    if name == "help":
        return HELP
    if name == "exit":
        raise Leave
    if name == "clear":
        conversation.clear()
        return "[a new conversation]"
    if name == "system":
        conversation.system = argument or None
        return f"[system message: {argument or 'none'}]"
    if name == "think":
        return _think(argument, conversation)
    if name in ("save", "load"):
        if not argument:
            raise InvalidArgumentError(f"/{name} needs the name of a file")
        getattr(conversation, name)(Path(argument).expanduser())
        return f"[{'saved' if name == 'save' else 'loaded'}: {len(conversation.turns)} messages]"
    raise InvalidArgumentError(f"there is no command /{name}; /help lists them")


def _think(argument: str, conversation: Conversation) -> str:
    if argument not in ("on", "off"):
        raise InvalidArgumentError("/think on, or /think off")
    set_thinking(conversation, argument == "on")
    return f"[thinking {argument}]"


def set_thinking(conversation: Conversation, on: bool) -> None:
    """Raises InvalidArgumentError when the template has no such switch."""
    source = conversation.tokenizer.chat_template if conversation.template == "default" else conversation.template
    if "enable_thinking" not in (source or ""):
        raise InvalidArgumentError("the chat template of this model has no switch for thinking (enable_thinking)")
    conversation.options["enable_thinking"] = on
