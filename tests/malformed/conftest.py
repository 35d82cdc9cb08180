"""Fixtures of the malformed-file tests: how a refusal is checked."""

from __future__ import annotations

from pathlib import Path

import gguf_bytes
import pytest

from executorch_ggml.errors import GgmlError
from executorch_ggml.runtime.gguf_file import GGUFFile


@pytest.fixture(scope="session")
def good_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "good.gguf"
    path.write_bytes(bytes(gguf_bytes.valid()))
    return path


@pytest.fixture
def refuse(tmp_path: Path, good_file: Path) -> gguf_bytes.Refuse:
    """refuse(image, Class, "word", ...): the file is refused with exactly this class, its message names the file and
    has every word, and the next file opens as if nothing had happened."""

    def run(image: gguf_bytes.Image | bytes | Path, kind: type[GgmlError], *words: str) -> GgmlError:
        if isinstance(image, Path):
            path = image
        else:
            path = tmp_path / "bad.gguf"
            path.write_bytes(bytes(image))
        with pytest.raises(GgmlError) as caught:
            GGUFFile(path)
        error = caught.value
        assert type(error) is kind, f"{type(error).__name__}: {error}"
        for word in (path.name, *words):
            assert word in str(error), f"{word!r} is missing in: {error}"
        with GGUFFile(good_file) as file:
            assert len(file.tensors) == 4
        return error

    return run
