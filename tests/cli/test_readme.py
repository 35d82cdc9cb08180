"""The README's programs run as they stand there: its Python blocks, one after the other, and its C program."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from executorch_ggml.runtime._load import executorch_directory, library_path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BUNDLED = ROOT / "assets" / "scripture-2.9m-q8_0.gguf"

# The README's own names are in scope here.
SAVE = """
import numpy
plain = len(lowered.to_executorch().buffer)
numpy.savez("results.npz", vector=vector, scores=scores, next_token=next_token, plain=plain,
            quantised=len(quantised.buffer))
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the Python blocks have run, with the bundled model under the names of the README."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("model.gguf", "Qwen3-0.6B-Q8_0.gguf"):
        shutil.copy(BUNDLED, folder / name)
    python = blocks("python")
    mobilenet = [block for block in python if "torchvision" in block]
    assert len(mobilenet) == 1  # tests/zoo/test_mobilenet_v2.py has it
    (folder / "readme.py").write_text("\n".join([*(block for block in python if block not in mobilenet), SAVE]))
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, "readme.py"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (folder / "stderr").write_text(done.stderr)
    return folder


def test_the_blocks_run_in_silence(folder: Path) -> None:
    assert (folder / "stderr").read_text() == ""


def test_the_own_module_computes_with_the_weights_of_the_gguf(folder: Path) -> None:
    import gguf

    tensors = {t.name: t for t in gguf.GGUFReader(folder / "model.gguf").tensors}
    embedding, norm = (
        gguf.quants.dequantize(tensors[name].data, tensors[name].tensor_type)
        for name in ("token_embd.weight", "output_norm.weight")
    )
    rows = embedding[[5, 77, 300]].astype(np.float64)
    want = (rows / np.sqrt((rows**2).mean(-1, keepdims=True) + 1e-6) * norm).mean(0)
    got = np.load(folder / "results.npz")["vector"]
    assert got.shape == (1, 256)
    np.testing.assert_allclose(got[0], want, rtol=1e-4, atol=1e-5)
    assert (folder / "vector.pte").stat().st_size < 10_000  # names, no weights


def test_the_other_blocks_have_results(folder: Path) -> None:
    results = np.load(folder / "results.npz")
    assert results["scores"].shape == (1, 10)
    assert 0 <= int(results["next_token"]) < 2048
    assert int(results["quantised"]) < 0.5 * int(results["plain"])


def test_the_c_program(folder: Path) -> None:
    compiler = os.environ.get("CC") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    shutil.copy(folder / "qwen3.pte", folder / "model.pte")
    (source,) = blocks("c")
    (folder / "main.c").write_text(source)
    library, include = library_path(), library_path().parents[1] / "include"
    if not (include / "executorch_ggml.h").is_file():  # a library from a build directory has no header beside it
        include = ROOT / "csrc" / "include"
    executorch = str(executorch_directory() / "lib")  # an editable install's library does not find it by itself
    subprocess.run(
        [compiler, "main.c", f"-I{include}", library, f"-Wl,-rpath,{library.parent}", "-o", "main",
         f"-Wl,-rpath-link,{executorch}"],
        cwd=folder, check=True,
    )  # fmt: skip
    done = subprocess.run(
        ["./main"], cwd=folder, env=dict(os.environ, LD_LIBRARY_PATH=executorch), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    tokens = [int(line) for line in done.stdout.split()]
    assert len(tokens) == 16
    assert all(0 <= token < 2048 for token in tokens)
