"""Something moves on a terminal while work takes time, and a pipe gets none of it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from shared_models import TinyLlm

ROOT = Path(__file__).resolve().parents[2]


def on_a_terminal(*arguments: str) -> tuple[int, str]:
    """The exit code, and stderr where it is a terminal."""
    ours, theirs = pty.openpty()
    # The width must be known, and rich must not take the terminal for a dumb one.
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(
        [sys.executable, "-m", "executorch_ggml", *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs, env=environment,
    ) as process:  # fmt: skip
        os.close(theirs)
        seen = b""
        while True:
            try:
                data = os.read(ours, 4096)
            except OSError:  # the other side is closed
                break
            if not data:
                break
            seen += data
    os.close(ours)
    return process.returncode, seen.decode()


def test_the_export_of_a_module_names_its_stages(tmp_path: Path) -> None:
    model = tmp_path / "embed.py"
    model.write_text("""
import torch
class Embed(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.token_embd = torch.nn.Embedding(2048, 256)
    def forward(self, ids):
        return self.token_embd(ids)
model = Embed()
example_inputs = (torch.zeros(1, 3, dtype=torch.int64),)
""")
    gguf = ROOT / "assets" / "scripture-2.9m-q8_0.gguf"
    code, seen = on_a_terminal("export", str(model), str(tmp_path / "m.pte"), "-g", str(gguf))
    assert code == 0, seen
    assert "exporting embed.py" in seen
    assert "lowering" in seen


@pytest.mark.parametrize("command", ["run", "chat"])
def test_a_prompt_that_is_read(command: str, bundled: TinyLlm, tmp_path: Path) -> None:
    template = tmp_path / "template"
    template.write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    more = ["--chat-template", str(template)] if command == "chat" else []
    arguments = [command, str(bundled.pte), "-g", str(bundled.gguf), "-n", "2", "-t", "1", *more, "In the beginning"]
    code, seen = on_a_terminal(*arguments)
    assert code == 0, seen
    assert "reading the" in seen
