"""Reading a message: with prompt_toolkit where it is installed, else with readline, else line by line."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

Reader = Callable[[str], str]
"""Takes the text before the cursor, returns one message. Raises EOFError at the end, KeyboardInterrupt for Ctrl-C."""

_FENCE = '"""'


def open_reader(*, toolkit: bool | None = None) -> Reader:
    """The best reader for this standard input. toolkit: False leaves prompt_toolkit out."""
    if not sys.stdin.isatty():
        return _fenced(lambda prompt: input())
    if toolkit is not False and sys.stdout.isatty() and find_spec("prompt_toolkit"):
        return _fenced(toolkit_reader(history_file("chat_history")))
    _readline(history_file("chat_history_readline"))
    return _fenced(input)


def history_file(name: str) -> Path | None:
    """Where messages are kept for the up key; None where it cannot be made."""
    state = os.environ.get("XDG_STATE_HOME")
    path = (Path(state) if state else Path.home() / ".local" / "state") / "executorch-ggml" / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600))
    except OSError:
        return None
    return path


def _fenced(read: Reader) -> Reader:
    '''Text between two lines of """ is one message.'''

    def message(prompt: str) -> str:
        text = read(prompt)
        if not text.startswith(_FENCE):
            return text
        text = text[len(_FENCE) :]
        while not text.rstrip().endswith(_FENCE):
            text += "\n" + read(". ")
        return text.rstrip()[: -len(_FENCE)].strip("\n")

    return message


def _readline(history: Path | None) -> None:
    """Importing it gives input() editing and history."""
    try:
        import readline
    except ImportError:
        return
    if history is not None:
        with contextlib.suppress(OSError):
            readline.read_history_file(history)

            def keep() -> None:
                with contextlib.suppress(OSError):
                    readline.set_history_length(1000)
                    readline.write_history_file(history)

            atexit.register(keep)


def toolkit_reader(history: Path | None) -> Reader:
    """Enter sends, Alt-Enter begins a line; text that is pasted keeps its lines."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import FileHistory, InMemoryHistory
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    keys = KeyBindings()

    def send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    def begin_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    keys.add("enter")(send)
    keys.add("escape", "enter")(begin_line)
    session: PromptSession[str] = PromptSession(
        history=FileHistory(str(history)) if history is not None else InMemoryHistory(),
        multiline=True,
        key_bindings=keys,
        prompt_continuation=lambda width, number, wrapped: ". ",
    )
    return lambda prompt: str(session.prompt(prompt))
