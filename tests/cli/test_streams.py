"""The command line's streams: closed, full, of another encoding; and what files may not write to a terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from shared_models import TinyLlm

from executorch_ggml.errors import GgmlError, error_for
from executorch_ggml.errors.printable import json_safe, printable

ESCAPES = "a\x1b[31m\x07\x9b2J\u202eb\udcff"


def shell(arguments: str, redirections: str) -> subprocess.CompletedProcess[str]:
    command = f"{sys.executable} -m executorch_ggml.cli.main {arguments} {redirections}"
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("redirections", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(redirections: str, bundled: TinyLlm) -> None:
    prompt = "" if redirections == "<&-" else "In"
    done = shell(f"run {bundled.pte} -g {bundled.gguf} -n 3 --threads 1 {prompt}", redirections)
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode in (0, 1)
    if redirections == "2>&-":
        assert done.stdout.startswith("In")


def test_a_full_disk_and_odd_bytes(bundled: TinyLlm) -> None:
    done = shell(f"inspect {bundled.pte}", "> /dev/full")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "No space left" in done.stderr
    done = shell(f"run {bundled.pte} -g {bundled.gguf} -n 3", "< <(printf '\\xff')")
    assert done.returncode == 1
    assert "not valid Unicode" in done.stderr


def test_control_characters() -> None:
    assert printable(ESCAPES) == "a\\x1b[31m\\x07\\x9b2J\\u202eb\\xff"
    assert printable("a\tb\n\u00e9\u65e5") == "a\tb\n\u00e9\u65e5"
    assert printable("a\tb\nc", one_line=True) == "a\\tb\\nc"
    assert json.loads(json_safe(json.dumps(ESCAPES, ensure_ascii=False))) == ESCAPES
    for error in (GgmlError(ESCAPES), error_for(3, ESCAPES)):
        assert "\x1b" not in str(error)
        assert "\x1b" not in error.args[0]


def test_names_in_a_gguf(tmp_path: Path) -> None:
    import gguf

    from executorch_ggml.gguf.summary import GGUFAnalyzer
    from executorch_ggml.llm.module import _table

    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "qwen3")
    writer.add_name("evil\x1b]0;title\x07\nmodel  fine")
    writer.add_string("x.\x1b[2J", "\x1b[2J")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    text = GGUFAnalyzer(tmp_path / "m.gguf").summary()
    assert "\x1b" not in text
    assert "evil\\x1b]0;title\\x07\\nmodel" in text
    facts = {"name": "a\x1b[2J\nb", "architecture": "x", "path": "p", "bytes": 1, "tensors": 1}
    table = _table({"gguf": facts, "pte": {"path": "p", "bytes": 1}, "model": {}, "program": {}})
    assert table.splitlines()[0].split(maxsplit=1) == ["model", "a\\x1b[2J\\nb (x)"]
