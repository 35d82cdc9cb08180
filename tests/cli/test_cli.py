"""The command line as a user sees it: output, exit codes, one clean line for an error."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from shared_models import Mlp, TinyLlm
from typer.testing import CliRunner, Result

from executorch_ggml.cli.main import app

PLAIN = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"}


def cli(*arguments: object, input: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], input=input, env=PLAIN)


def failure(result: Result, code: int = 1) -> str:
    """The message of a failed command: one line, no traceback."""
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.output
    return lines[0]


def test_help() -> None:
    result = cli("--help")
    assert result.exit_code == 0
    for name in ("export", "run", "bench", "check", "inspect", "explain", "diff", "devices"):
        assert name in result.output
        assert cli(name, "--help").exit_code == 0


def test_version() -> None:
    from executorch_ggml import __version__

    assert cli("--version").stdout.strip() == f"executorch-ggml {__version__}"


def test_wrong_usage() -> None:
    for arguments in (["nonsense"], ["run"], ["bench", "a.pte", "--logits", "some"], ["run", "a.pte", "--top-p", "2"]):
        result = cli(*arguments)
        assert result.exit_code == 2, arguments
        assert "Traceback" not in result.output


def test_devices() -> None:
    result = cli("devices")
    assert result.exit_code == 0
    assert re.search(r"^cpu +cpu ", result.stdout, re.MULTILINE)
    listed = json.loads(cli("devices", "--json").stdout)
    assert any(device["name"] == "cpu" and device["usable"] for device in listed)


def test_check(bundled: TinyLlm, mlp: Mlp) -> None:
    result = cli("check", bundled.pte, "--gguf", bundled.gguf)
    assert (result.exit_code, "fits" in result.stdout) == (0, True)
    result = cli("check", bundled.pte, "--gguf", mlp.gguf)
    assert result.exit_code == 3
    assert "token_embd.weight" in result.stdout
    report = json.loads(cli("check", bundled.pte, "--gguf", mlp.gguf, "--json").stdout)
    assert (report["ok"], len(report["problems"]) > 10) == (False, True)


def test_inspect(bundled: TinyLlm) -> None:
    result = cli("inspect", bundled.pte, "--weights")
    assert result.exit_code == 0, result.output
    for word in (
        "method 'forward'",
        "FlashAttn 4",
        "input_ids [1, ",
        "blk.3.ffn_down.weight",
        "1 .. 96",
        "qwen3.block_count = 4",
    ):
        assert word in result.stdout, word
    (graph,) = json.loads(cli("inspect", bundled.pte, "--json").stdout)["payloads"]
    assert len(graph["weights"]) == 47
    assert len(graph["states"]) == 8
    assert graph["outputs"][0]["shape"] == [1, 1, 2048]


def test_inspect_ir(bundled: TinyLlm) -> None:
    result = cli("inspect", bundled.pte, "--ir")
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) > 200


def test_inspect_gguf(bundled: TinyLlm) -> None:
    assert "qwen3" in cli("inspect", bundled.gguf).stdout
    listed = cli("inspect", bundled.gguf, "--weights").stdout  # as README says
    assert re.search(r"^token_embd\.weight +Q8_0 +\[256, 2048\]$", listed, re.MULTILINE)
    (norm,) = (
        w for w in json.loads(cli("inspect", bundled.gguf, "--weights", "--json").stdout)["weights"]
        if w["name"] == "output_norm.weight"
    )  # fmt: skip
    assert (norm["type"], norm["shape"]) == ("F32", "[256]")
    assert json.loads(cli("inspect", bundled.gguf, "--json").stdout)["architecture"] == "qwen3"


def test_run(bundled: TinyLlm) -> None:
    common = ["run", bundled.pte, "--gguf", bundled.gguf, "--threads", 1, "--max-tokens", 12, "--temperature", 0]
    result = cli(*common, "In the beginning")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("In the beginning ")
    assert re.search(r"answer: \d+ tokens, [\d.]+ tok/s", result.stderr)
    assert cli(*common, "--no-stats", input="In the beginning").stdout == result.stdout
    assert cli(*common, "-", input="In the beginning").stdout == result.stdout
    stopped = cli(*common, "In the beginning", "--stop", result.stdout[17:22])
    assert stopped.stdout == "In the beginning" + result.stdout[16:17] + "\n"
    warm = [cli(*common, "In", "--temperature", 1, "--seed", seed).stdout for seed in (1, 1, 2, 3)]
    assert warm[0] == warm[1]
    assert len(set(warm)) > 1


def test_errors_are_one_line(bundled: TinyLlm, mlp: Mlp, tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF\x03\x00\x00")
    for arguments, word in [
        (["run", tmp_path / "none.pte", "x", "--gguf", bundled.gguf], "none.pte"),
        (["run", bundled.pte, "x", "--gguf", tmp_path / "none.gguf"], "none.gguf"),
        (["run", bundled.pte, "x", "--gguf", bad], "bad.gguf"),
        (["run", bundled.pte, "x"], "--gguf"),
        (["run", bundled.pte, "x", "--gguf", bundled.gguf, "--device", "abacus"], "abacus"),
        (["run", bundled.pte, "x", "--gguf", bundled.gguf, "--cache-type", "q9"], "q9"),
        (["run", bundled.pte, "word " * 300, "--gguf", bundled.gguf], "96"),
        (["bench", mlp.pte, "-p", 3], "language model"),
        (["inspect", tmp_path / "none.pte"], "none.pte"),
        (["inspect", bad], "bad.gguf"),
        (["export", bad, tmp_path / "x.pte"], "bad.gguf"),
        (["check", bad], "bad.gguf"),
    ]:
        assert word in failure(cli(*arguments)), arguments
    assert not (tmp_path / "x.pte").exists()


def test_export(bundled: TinyLlm, tmp_path: Path) -> None:
    target = tmp_path / "x.pte"
    result = cli("export", bundled.gguf, target, "--max-seq-len", 96, "--json")
    assert result.exit_code == 0, result.output
    written = json.loads(result.stdout[result.stdout.index("{") :])
    assert (written["architecture"], written["bytes"]) == ("qwen3", target.stat().st_size)
    assert target.read_bytes() == bundled.pte.read_bytes()


def test_only_export_imports_torch(bundled: TinyLlm) -> None:
    pte, gguf = str(bundled.pte), str(bundled.gguf)
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom executorch_ggml.cli.main import app\n"
        f"for a in (['devices'], ['check', {pte!r}, '-g', {gguf!r}], ['inspect', {pte!r}],"
        f" ['run', {pte!r}, 'In', '-g', {gguf!r}, '-n', '2']):\n"
        "    result = CliRunner().invoke(app, a)\n    assert result.exit_code == 0, result.output\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "False"


def test_a_reader_that_leaves(bundled: TinyLlm) -> None:
    command = f"{sys.executable} -m executorch_ggml.cli.main inspect --json {bundled.pte} | head -c 10"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, timeout=120)
    assert done.stderr == ""
