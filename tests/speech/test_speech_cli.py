"""The commands: `executorch-ggml transcribe`, the scripts in runner/, the C++ programs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from shared_models import child
from speech_models import speech_like
from typer.testing import CliRunner

from executorch_ggml.cli.main import app
from executorch_ggml.speech.transcribe import transcribe

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import soundfile

    path = tmp_path_factory.mktemp("audio") / "speech.wav"
    soundfile.write(path, speech_like(3.0, seed=5), 16000, subtype="FLOAT")
    return path


@pytest.fixture(scope="module")
def parakeet(parakeet_pte: Callable[[str], Path]) -> Path:
    return parakeet_pte("F32")


@pytest.fixture(scope="module")
def voxtral(voxtral_files: Callable[[str], tuple[Path, Path]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `.pte` whose weights lie beside it under its name."""
    folder = tmp_path_factory.mktemp("beside")
    pte, gguf = voxtral_files("F32")
    shutil.copy(pte, folder / "model.pte")
    shutil.copy(gguf, folder / "model.gguf")
    return folder / "model.pte"


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(a) for a in ("transcribe", *arguments, "--threads", 1)])


@pytest.mark.parametrize("model", ["parakeet", "voxtral"])
def test_transcribe(model: str, wav: Path, request: pytest.FixtureRequest) -> None:
    pte = request.getfixturevalue(model)
    wanted = transcribe(pte, wav, threads=1).text
    done = run(pte, wav)
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == wanted
    assert re.search(r"\[3\.0 s of audio in .* s, real-time factor \d+\.\d+\]", done.stderr)
    assert run(pte, wav, "--streaming").stdout.strip() == wanted


def test_json_and_timestamps(parakeet: Path, wav: Path) -> None:
    found = json.loads(run(parakeet, wav, "--json").stdout)
    assert found["audio_seconds"] == 3.0
    assert " ".join(w["text"] for w in found["words"]).split() == found["text"].split()
    lines = run(parakeet, wav, "--timestamps").stdout.splitlines()
    assert len(lines) == len(found["words"])


def test_errors_are_one_line(parakeet: Path, voxtral: Path, wav: Path, tmp_path: Path, mlp: Any) -> None:
    (tmp_path / "empty.wav").write_bytes(b"")
    shutil.copy(voxtral, tmp_path / "alone.pte")
    for arguments, reason in (
        ((parakeet, tmp_path / "empty.wav"), "empty"),
        ((parakeet, tmp_path / "none.wav"), "No such file"),
        ((mlp.pte, wav), "not a speech model"),
        ((tmp_path / "none.pte", wav), "none.pte"),
        ((tmp_path / "alone.pte", wav), "missing|weights|GGUF|gguf"),
    ):
        done = run(*arguments)
        assert done.exit_code == 1
        assert re.search(reason, done.stderr), done.stderr
        assert "Traceback" not in done.output


@pytest.mark.slow
def test_scripts(parakeet: Path, voxtral: Path, wav: Path) -> None:
    for script, pte in (("run_parakeet.py", parakeet), ("run_voxtral_rt.py", voxtral)):
        done = child(
            str(ROOT / "runner" / script), "--model", str(pte), "--audio", str(wav), "--threads", "1", timeout=120
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[0].strip() == transcribe(pte, wav, threads=1).text
        assert "real-time factor" in done.stdout


def test_running_imports_no_torch(run_python: Callable[[str], str], parakeet: Path, wav: Path) -> None:
    code = (
        "import sys; from executorch_ggml.speech.transcribe import transcribe; "
        f"transcribe({str(parakeet)!r}, {str(wav)!r}, threads=1); print('torch' in sys.modules)"
    )
    assert run_python(code).strip() == "False"


@pytest.mark.parametrize("model", ["parakeet", "voxtral"])
def test_c_programs(model: str, wav: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    from executorch_ggml.runtime._load import executorch_directory, library_path

    pte = request.getfixturevalue(model)
    name = {"parakeet": "run_parakeet", "voxtral": "run_voxtral_rt"}[model]
    program = library_path().parent.parent / "bin" / name
    if not program.exists():
        pytest.skip("built without the tools")
    env = {**os.environ, "LD_LIBRARY_PATH": str(executorch_directory() / "lib")}

    def call(audio: Path, *more: str) -> subprocess.CompletedProcess[str]:
        weights = ["--weights", str(pte.with_suffix(".gguf"))] if model == "voxtral" else []
        command = [str(program), "--model", str(pte), "--audio", str(audio), "--threads", "1", *weights, *more]
        return subprocess.run(
            command, capture_output=True, check=False, timeout=120, env=env, text=True, errors="replace"
        )

    done = call(wav)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == transcribe(pte, wav, threads=1).text
    assert "real-time factor" in done.stderr
    (tmp_path / "bad.wav").write_bytes(wav.read_bytes()[:5000])
    for audio, reason in ((tmp_path / "bad.wav", "cut off"), (pte, "not a WAV"), (tmp_path / "none.wav", "opened")):
        refused = call(audio)
        assert refused.returncode == 1
        assert reason in refused.stderr
    assert call(wav, "--nonsense", "1").returncode == 2
