"""`run model.gguf`: the graph is exported once into a cache, and torch is not imported afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from shared_models import TinyLlm
from typer.testing import CliRunner, Result

from executorch_ggml.cli.main import app
from executorch_ggml.errors import FileError, LibraryError
from executorch_ggml.gguf.header import read_header
from executorch_ggml.llm import graph_cache
from executorch_ggml.llm.export import GGUFExportConfig
from executorch_ggml.llm.graph_cache import bounded_length, cache_folder, cached_graph


def cli(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"NO_COLOR": "1", "TERM": "dumb"})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EXECUTORCH_GGML_GRAPHS", str(tmp_path / "graphs"))
    return tmp_path / "graphs"


def test_a_gguf_alone(bundled: TinyLlm, folder: Path) -> None:
    arguments = ["run", str(bundled.gguf), "In the beginning", "-t", "1", "-n", "5", "--temperature", "0"]
    first = cli(*arguments)
    assert first.exit_code == 0, first.output
    (graph,) = folder.iterdir()
    assert str(graph) in first.stderr.replace("\n", "")
    assert "-512-" in graph.name  # the model's own context
    old = cli("run", bundled.pte, "In the beginning", "-g", bundled.gguf, *arguments[3:])
    assert old.stdout == first.stdout
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom executorch_ggml.cli.main import app\n"
        f"for a in ({arguments!r}, ['bench', {str(bundled.gguf)!r}, '-t', '1']):\n"
        "    result = CliRunner().invoke(app, a)\n    assert result.exit_code == 0, result.output\n"
        "    assert 'exported' not in result.stderr\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


def test_misplaced_options(bundled: TinyLlm) -> None:
    result = cli("run", bundled.gguf, "x", "--gguf", bundled.gguf)
    assert (result.exit_code, "leave out --gguf" in result.stderr) == (1, True)
    result = cli("run", bundled.pte, "x", "--gguf", bundled.gguf, "--max-seq-len", 12)
    assert (result.exit_code, "--max-seq-len" in result.stderr) == (1, True)


def test_without_torch(bundled: TinyLlm, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_cache, "find_spec", lambda name: None)
    with pytest.raises(LibraryError, match=r"needs torch.*pip install 'executorch-ggml\[export\]'"):
        cached_graph(bundled.gguf)
    assert not folder.exists()


def test_the_key(bundled: TinyLlm, tiny_llm: TinyLlm, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_cache, "export_gguf_to_pte", lambda gguf, pte, config, on_stage: pte.write_bytes(b"x"))
    first = cached_graph(bundled.gguf)
    assert (first.made, first.config.max_seq_len) == (True, 512)
    assert cached_graph(bundled.gguf).made is False
    assert cached_graph(bundled.gguf, GGUFExportConfig(max_seq_len=64)).made
    assert cached_graph(bundled.gguf, GGUFExportConfig(max_seq_len=64, full_logits=True)).made
    raw = bytearray(bundled.gguf.read_bytes())
    raw[raw.index(b"general.name") + 12 + 4 + 8] ^= 1  # the first letter of the value
    other = folder.parent / bundled.gguf.name
    other.write_bytes(raw)
    assert cached_graph(other).made  # other metadata
    monkeypatch.setattr(graph_cache, "_code", lambda: b"another version")
    assert cached_graph(bundled.gguf).made
    assert len(list(folder.iterdir())) == 5


def test_two_processes_export_once(bundled: TinyLlm, folder: Path) -> None:
    log = folder.parent / "log"
    code = (
        "import sys, time\nfrom executorch_ggml.llm import graph_cache\n"
        "def export(gguf, pte, config, on_stage):\n"
        f"    open({str(log)!r}, 'a').write('export\\n')\n    time.sleep(2)\n    pte.write_bytes(b'x')\n"
        "graph_cache.export_gguf_to_pte = export\n"
        f"print(graph_cache.cached_graph({str(bundled.gguf)!r}, on_stage=lambda s: print(s, file=sys.stderr)).path)\n"
    )
    children = [subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-1, text=True) for _ in range(2)]
    results = [child.communicate(timeout=120) for child in children]
    assert [child.returncode for child in children] == [0, 0], results
    assert results[0][0] == results[1][0]
    assert log.read_text() == "export\n"


def test_a_folder_that_cannot_be_written(bundled: TinyLlm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EXECUTORCH_GGML_GRAPHS", str(tmp_path / "file" / "below"))
    with pytest.raises(FileError, match="EXECUTORCH_GGML_GRAPHS"):
        cached_graph(bundled.gguf)


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EXECUTORCH_GGML_GRAPHS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "executorch-ggml" / "graphs"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_folder() == Path(os.path.expanduser("~")) / ".cache" / "executorch-ggml" / "graphs"


def test_the_length_of_the_model(bundled: TinyLlm) -> None:
    header = read_header(bundled.gguf)
    assert (bounded_length(header), bounded_length(header, 100), bounded_length(header, 4096)) == (512, 100, 512)
