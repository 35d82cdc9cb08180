"""`executorch-ggml export` of a speech checkpoint: the family is found, and the file runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import test_parakeet_convert
import voxtral_models
from typer.testing import CliRunner

from executorch_ggml import Program
from executorch_ggml.cli.main import app
from executorch_ggml.errors import FileError, InvalidArgumentError, UnsupportedError
from executorch_ggml.speech.export import export_checkpoint, family_of

Write = Callable[[Any, Path], Path]


@pytest.mark.parametrize(
    "write, make, family",
    [
        (test_parakeet_convert.write_hf, test_parakeet_convert.hf_model, "parakeet"),
        (test_parakeet_convert.write_nemo, test_parakeet_convert.hf_model, "parakeet"),
        (voxtral_models.write_hf, voxtral_models.hf_model, "voxtral"),
        (voxtral_models.write_mistral, voxtral_models.hf_model, "voxtral"),
    ],
)
def test_families(write: Write, make: Callable[[], Any], family: str, tmp_path: Path) -> None:
    path = write(make(), tmp_path)
    assert family_of(path) == family
    assert family_of(tmp_path) == family


def test_others(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"config\.json"):
        family_of(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "whisper"}))
    with pytest.raises(UnsupportedError, match="'whisper'"):
        family_of(tmp_path)


@pytest.mark.parametrize("family", ["parakeet", "voxtral"])
def test_command(family: str, tmp_path: Path) -> None:
    source = test_parakeet_convert if family == "parakeet" else voxtral_models
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    source.write_hf(source.hf_model(), folder)
    pte = tmp_path / "out.pte"
    done = CliRunner().invoke(app, ["export", str(folder), str(pte), "--dtype", "F32", "--json"])
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["architecture"] == family
    assert (facts["gguf"] is None) == (family == "parakeet")
    with Program(pte, facts["gguf"], threads=1) as program:
        assert "speech_config" in {method["name"] for method in program.info()["methods"]}


@pytest.mark.parametrize("arguments, name", [(["--full-logits"], "--full-logits"), (["--one-token"], "--one-token")])
def test_options_of_the_other_kind(arguments: list[str], name: str, tmp_path: Path, bundled: Any) -> None:
    done = CliRunner().invoke(app, ["export", str(tmp_path), str(tmp_path / "m.pte"), *arguments])
    assert done.exit_code == 1
    assert name in done.stderr
    done = CliRunner().invoke(app, ["export", str(bundled.gguf), str(tmp_path / "m.pte"), "--dtype", "F16"])
    assert done.exit_code == 1
    assert "--dtype" in done.stderr


@pytest.mark.parametrize(
    "family, arguments, name",
    [
        ("parakeet", ["--streaming"], "streaming"),
        ("parakeet", ["--max-seq-len", "100"], "max_seq_len"),
    ],
)
def test_options_of_the_other_family(family: str, arguments: list[str], name: str, tmp_path: Path) -> None:
    source = test_parakeet_convert if family == "parakeet" else voxtral_models
    source.write_hf(source.hf_model(), tmp_path)
    done = CliRunner().invoke(app, ["export", str(tmp_path), str(tmp_path / "m.pte"), *arguments])
    assert done.exit_code == 1
    assert f"{family} model, which has no option {name}" in done.stderr


def test_parakeets_option_for_voxtral(tmp_path: Path) -> None:
    voxtral_models.write_hf(voxtral_models.hf_model(), tmp_path)
    with pytest.raises(InvalidArgumentError, match="max_seconds"):
        export_checkpoint(tmp_path, tmp_path / "v.pte", max_seconds=3)
