"""Modules of one's own with the weights of a GGUF: the examples, against eager and against the built-in decoder."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from executorch_ggml import GGUFModule, Program, export_with_gguf, load_gguf
from executorch_ggml.analysis.nmse import nmse
from executorch_ggml.errors import InvalidArgumentError
from executorch_ggml.llm.export import GGUFExportConfig, export_gguf_to_pte
from executorch_ggml.runtime.program import payloads
from tests.support.make_gguf import write_gguf

ROOT = Path(__file__).resolve().parents[2]
GGUF = ROOT / "assets" / "scripture-2.9m-q8_0.gguf"
QUANTISED = 1e-3  # products with Q8_0 round the activations to 8 bits

pytestmark = pytest.mark.filterwarnings("ignore")


def example(name: str) -> Any:
    folder = str(ROOT / "examples")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(name)


@pytest.fixture(scope="module")
def own_pte(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "own.pte"
    example("own_decoder").export(GGUF, path, 128)
    return path


@pytest.fixture(scope="module")
def tokens() -> np.ndarray:
    return np.array([[5, 77, 300, 12, 9, 1400, 3]])


def test_own_decoder_is_the_built_in_one(own_pte: Path, tmp_path: Path) -> None:
    export_gguf_to_pte(GGUF, tmp_path / "built_in.pte", GGUFExportConfig(max_seq_len=128))
    built_in, own = (GGUFModule(path, GGUF, threads=1) for path in (tmp_path / "built_in.pte", own_pte))
    text = [module.generate("And it came to pass", max_tokens=40).read() for module in (built_in, own)]
    assert text[0] == text[1]
    assert len(text[0]) > 40
    kinds = {state["kind"] for state in Program(own_pte, GGUF).info()["states"]}
    assert kinds == {state["kind"] for state in Program(tmp_path / "built_in.pte", GGUF).info()["states"]}


def test_own_decoder_is_eager(own_pte: Path, tokens: np.ndarray) -> None:
    own_decoder = example("own_decoder")
    eager = load_gguf(own_decoder.Decoder(own_decoder.Sizes(GGUF, 128)), GGUF)
    positions = np.arange(tokens.shape[1])
    with torch.no_grad():
        want = eager(torch.from_numpy(tokens), torch.from_numpy(positions)).numpy()
    assert len(payloads(own_pte)) == 1
    with Program(own_pte, GGUF, threads=1) as program:
        (got,) = program(tokens, positions)
    assert nmse(got, want) < QUANTISED


def test_own_decoder_runs_with_other_types_of_the_same_model(tmp_path: Path, tokens: np.ndarray) -> None:
    own_decoder = example("own_decoder")
    files = {kind: write_gguf(tmp_path / f"{kind}.gguf", arch="qwen3", type=kind)[0] for kind in ("f32", "q8_0")}
    own_decoder.export(files["q8_0"], tmp_path / "own.pte", 64)
    eager = load_gguf(own_decoder.Decoder(own_decoder.Sizes(files["f32"], 64)), files["f32"])
    ids, positions = tokens % 512, np.arange(tokens.shape[1])
    with torch.no_grad():
        want = eager(torch.from_numpy(ids), torch.from_numpy(positions)).numpy()
    for kind, bound in (("f32", 1e-9), ("q8_0", QUANTISED)):
        with Program(tmp_path / "own.pte", files[kind], threads=1, cache_type="f32") as program:
            assert nmse(program(ids, positions)[0], want) < bound


def test_adapters(tmp_path: Path, tokens: np.ndarray) -> None:
    own_lora = example("own_lora")
    module = own_lora.model(GGUF, 128)
    for name, parameter in module.named_parameters():
        if name.endswith("lora_b"):
            parameter.data *= 10  # or the difference is lost in that of Q8_0
    own_lora.export(module, GGUF, tmp_path / "lora.pte")
    assert (tmp_path / "lora.pte").stat().st_size < 400_000
    eager = load_gguf(module, GGUF, own=own_lora.OWN)
    positions, found = np.arange(tokens.shape[1]), []
    assert len(payloads(tmp_path / "lora.pte")) == 1
    with Program(tmp_path / "lora.pte", GGUF, threads=1) as program:
        for strength in ([0, 0], [1, 0], [0, 1], [0.5, 2]):
            weights = np.array(strength, np.float32)
            with torch.no_grad():
                want = eager(*(torch.from_numpy(x) for x in (tokens, positions, weights))).numpy()
            (got,) = program(tokens, positions, weights)
            assert nmse(got, want) < QUANTISED
            found.append(got)
    assert all(nmse(found[0], other) > QUANTISED for other in found[1:])  # each adapter counts


def test_embeddings_of_several_sentences(tmp_path: Path) -> None:
    own = example("own_embeddings")
    module = own.model(GGUF)
    own.export(module, GGUF, tmp_path / "own.pte")
    eager = load_gguf(module, GGUF)
    sentences = [[5, 77, 300, 12, 9], [8], [1000, 2, 3]]
    ids, lengths = own.padded(sentences)
    with torch.no_grad():
        want = eager(torch.from_numpy(ids), torch.from_numpy(lengths)).numpy()
    assert len(payloads(tmp_path / "own.pte")) == 1
    with Program(tmp_path / "own.pte", GGUF, threads=1) as program:
        (together,) = program(ids, lengths)
        alone = [program(*own.padded([sentence]))[0][0] for sentence in sentences]
    assert nmse(together, want) < QUANTISED
    assert nmse(np.stack(alone), want) < QUANTISED  # padding is not seen


def test_module_of_hugging_face(tmp_path: Path, tokens: np.ndarray) -> None:
    pytest.importorskip("transformers")
    hf_model = example("hf_model")
    module = hf_model.Model(GGUF).eval()
    hf_model.export(module, GGUF, tmp_path / "hf.pte")
    eager = load_gguf(module, GGUF, names="hf")
    with torch.no_grad():
        want = [tensor.numpy() for tensor in eager(torch.from_numpy(tokens))]
    assert len(payloads(tmp_path / "hf.pte")) == 1
    with Program(tmp_path / "hf.pte", GGUF, threads=1) as program:
        got = program(tokens)
    assert all(nmse(a, b) < QUANTISED for a, b in zip(got, want, strict=True))


def test_a_module_is_left_as_it_was(tmp_path: Path) -> None:
    own_decoder = example("own_decoder")
    with torch.device("meta"):
        module = own_decoder.Decoder(own_decoder.Sizes(GGUF, 16))
    shapes = own_decoder.shapes(16)
    result = export_with_gguf(module, own_decoder.example_inputs, GGUF, tmp_path / "m.pte", dynamic_shapes=shapes)
    assert all(p.device.type == "meta" for p in (*module.parameters(), *module.buffers()))
    assert set(result.checked.values()) == {"same"}
    assert (result.delegates, result.binding.own, result.binding.unused) == (1, frozenset(), ())


def test_a_module_that_torch_refuses(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Dropout()).train()
    module[0].eval()
    with pytest.raises(InvalidArgumentError, match=r"Sequential: torch\.export refuses the model: "):
        export_with_gguf(module, (torch.ones(4),), GGUF, tmp_path / "x.pte", own=["*"])
    assert [part.training for part in module.modules()] == [True, False, True]


def test_command_line(tmp_path: Path, own_pte: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from typer.testing import CliRunner

    from executorch_ggml.cli.main import app

    module = str(ROOT / "examples" / "own_decoder.py")
    done = CliRunner().invoke(app, ["export", module, str(tmp_path / "own.pte"), "-g", str(GGUF)])
    assert done.exit_code == 0, done.output
    assert "1 delegate" in done.output
    assert "RoPE base" in done.output
    assert GGUFModule(tmp_path / "own.pte", GGUF, threads=1).generate("And", max_tokens=3).read()
    done = CliRunner().invoke(app, ["diff", module, "-g", str(GGUF), "-t", "1"])
    assert done.exit_code == 0, done.output
    assert "all within tolerance" in done.output
    done = CliRunner().invoke(app, ["export", module, str(tmp_path / "no.pte")])
    assert done.exit_code != 0
    assert not (tmp_path / "no.pte").exists()
