"""`chat`: turns, commands, Ctrl-C, a terminal with history."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from shared_models import TinyLlm
from typer.testing import CliRunner, Result

from executorch_ggml.cli.main import app
from executorch_ggml.llm.text.generate import Generation

TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "template.jinja"
    path.write_text(TEMPLATE)
    return path


@pytest.fixture
def talk(bundled: TinyLlm, template: Path) -> Callable[..., Result]:
    def run(input: str, *more: object) -> Result:
        given = ["chat", bundled.pte, "-g", bundled.gguf, "-t", 1, "-n", 4, "--chat-template", template, *more]
        environment = {"NO_COLOR": "1", "TERM": "dumb"}
        return CliRunner().invoke(app, [str(a) for a in given], input=input, env=environment)

    return run


def test_turns(talk: Callable[..., Result]) -> None:
    result = talk("one\n\ntwo\n/clear\nthree\n", "--system", "Be kind.")
    assert result.exit_code == 0, result.output
    counts = [int(n) for n in re.findall(r"prompt: (\d+) tokens", result.stderr)]
    assert len(counts) == 3
    assert counts[2] < counts[1] > counts[0]
    assert "of them in the cache" in result.stderr
    assert talk("ignored\n", "one").stderr.count("answer:") == 1
    assert "answer:" not in talk("one\n", "--quiet").stderr


def test_it_is_run_with_chat(bundled: TinyLlm) -> None:
    for command in (["run", "--chat"], ["chat"]):
        given = [*command, str(bundled.pte), "-g", str(bundled.gguf)]
        result = CliRunner().invoke(app, given, input="hello\n")
        assert (result.exit_code, "tokenizer.chat_template" in result.stderr) == (1, True)


def test_commands(talk: Callable[..., Result], tmp_path: Path) -> None:
    file = tmp_path / "talk.json"
    result = talk(f"/help\n/system Be brief.\none\n/save {file}\n/clear\n/load {file}\n/exit\nnever\n")
    assert result.exit_code == 0, result.output
    for word in ("/save FILE", "[system message: Be brief.]", "[saved: 2 messages]", "[loaded: 2 messages]"):
        assert word in result.stderr
    assert result.stderr.count("answer:") == 1
    assert [m["role"] for m in json.loads(file.read_text())["messages"]] == ["system", "user", "assistant"]
    result = talk("/nonsense\n/save\n/load /nonexistent\n/think on\n")
    assert result.exit_code == 0, result.output
    assert result.stderr.count("error: ") == 4
    assert talk("/usr/bin/python is a path\n").stderr.count("answer:") == 1


def test_a_saved_conversation_with_another_template(
    talk: Callable[..., Result], template: Path, tmp_path: Path
) -> None:
    """--load goes on; --system replaces the saved one; a template that refuses the messages says so when they load."""
    file = tmp_path / "talk.json"
    talk(f"one\n/save {file}\n", "--system", "Be kind.")
    result = talk(f"two\n/save {file}2\n", "--load", file)
    assert result.exit_code == 0, result.output
    messages = json.loads((tmp_path / "talk.json2").read_text())["messages"]
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user", "assistant"]
    assert (messages[0]["content"], messages[3]["content"]) == ("Be kind.", "two")
    talk(f"/save {file}3\n", "--load", file, "--system", "Be brief.")
    assert json.loads((tmp_path / "talk.json3").read_text())["messages"][0]["content"] == "Be brief."
    refusal = "{% if messages[0].role == 'system' %}{{ raise_exception('no system messages') }}{% endif %}"
    template.write_text(refusal + TEMPLATE)
    result = talk("two\n", "--load", file)
    assert (result.exit_code, "no system messages" in result.stderr, result.stdout) == (1, True, "")
    result = talk(f"/load {file}\ntwo\n")
    assert (result.exit_code, "no system messages" in result.stderr) == (0, True)
    assert result.stderr.count("answer:") == 1  # the conversation is as it was
    assert talk("two\n", "--load", tmp_path / "none.json").exit_code == 1


def test_several_lines(talk: Callable[..., Result], tmp_path: Path) -> None:
    file = tmp_path / "talk.json"
    assert talk(f'"""one\ntwo\nthree"""\n/save {file}\n').exit_code == 0
    assert json.loads(file.read_text())["messages"][0]["content"] == "one\ntwo\nthree"


def test_thinking(talk: Callable[..., Result], template: Path, tmp_path: Path) -> None:
    assert "no switch" in talk("one\n", "--no-think").stderr
    template.write_text(TEMPLATE + "{% if enable_thinking is defined and not enable_thinking %}no thoughts{% endif %}")
    sizes = [int(re.findall(r"prompt: (\d+)", talk("one\n", *more).stderr)[0]) for more in ([], ["--no-think"])]
    assert sizes[1] > sizes[0]
    sizes = [int(n) for n in re.findall(r"prompt: (\d+)", talk("one\n/clear\n/think off\none\n").stderr)]
    assert sizes[1] > sizes[0]


def test_a_file_that_is_no_template(talk: Callable[..., Result], template: Path) -> None:
    template.write_text("plain text")
    result = talk("one\n")
    assert (result.exit_code, "no chat template" in result.stderr) == (1, True)


def test_a_full_context_goes_on(talk: Callable[..., Result]) -> None:
    result = talk("a question about the king of the land\n" * 12)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("answer:") == 12
    assert "the oldest 2 messages were dropped" in result.stderr


def test_ctrl_c_ends_the_answer_only(talk: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    original, count = Generation._step, [0]

    def step(self: Generation) -> object:
        count[0] += 1
        if count[0] == 3:
            raise KeyboardInterrupt
        return original(self)

    monkeypatch.setattr(Generation, "_step", step)
    result = talk("one\ntwo\n")
    assert result.exit_code == 0, result.output
    assert result.stderr.count("interrupted") == 1
    assert result.stderr.count("answer:") == 2
    assert "error" not in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("toolkit", [False, True])
def test_in_a_terminal(toolkit: bool, bundled: TinyLlm, template: Path, tmp_path: Path) -> None:
    """The up key brings the last message back; a paste of two lines is one message; Ctrl-D leaves."""
    if toolkit and find_spec("prompt_toolkit") is None:
        pytest.skip("prompt_toolkit is not installed")
    import pty

    file = tmp_path / "talk.json"
    given = ["chat", bundled.pte, "-g", bundled.gguf, "-t", 1, "-n", 2, "--chat-template", template]
    code = (
        "import sys\nfrom executorch_ggml.cli import chat_input\n"
        f"chat_input.find_spec = (lambda name: {'True' if toolkit else 'None'})\n"
        f"from executorch_ggml.cli.main import app\napp({[str(a) for a in given]!r})\n"
    )
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "XDG_STATE_HOME": str(tmp_path), "PROMPT_TOOLKIT_NO_CPR": "1"}
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    )
    os.close(theirs)
    screen = _Screen(ours)
    for keys in ("hello", "\x1b[A", "\x1b[200~line one\nline two\x1b[201~", f"/save {file}"):
        screen.wait(">")
        os.write(ours, keys.encode())
        time.sleep(0.3)
        os.write(ours, b"\r")
        screen.wait("messages]" if keys.startswith("/save") else "first token")
    screen.wait(">")
    os.write(ours, b"\x04")
    screen.wait(None)
    assert child.wait(30) == 0
    os.close(ours)
    asked = [m["content"] for m in json.loads(file.read_text())["messages"] if m["role"] == "user"]
    assert asked == ["hello", "hello", "line one\nline two"]
    kept = tmp_path / "executorch-ggml" / ("chat_history" if toolkit else "chat_history_readline")
    assert "hello" in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0


class _Screen:
    def __init__(self, terminal: int) -> None:
        self.terminal, self.shown, self.seen = terminal, "", 0

    def wait(self, word: str | None) -> None:
        """Reads until a word comes after those waited for so far; None: to the end."""
        end = time.monotonic() + 60
        while word is None or (found := self.shown.find(word, self.seen)) < 0:
            assert time.monotonic() < end, self.shown
            if not select.select([self.terminal], [], [], 1)[0]:
                continue
            try:
                chunk = os.read(self.terminal, 4096)
            except OSError:  # the other side is closed
                chunk = b""
            if not chunk:
                assert word is None, self.shown
                return
            self.shown += chunk.decode("utf-8", "replace")
        self.seen = found + len(word)
