"""Split sets: read as one, and every way in which the shards may not belong together."""

from __future__ import annotations

from pathlib import Path

import pytest
from gguf_bytes import ARCHITECTURE, F32, GGML_Q8_0, I32, STRING, U16, Image, Refuse, Tensor, kv, u64

from executorch_ggml.errors import FileError, FormatError, InvalidArgumentError
from executorch_ggml.runtime.gguf_file import GGUFFile

pytestmark = pytest.mark.quick


def shard(no: int, count: int, tensors: list[Tensor], *, total: int = 3, extra: tuple[bytes, ...] = ()) -> Image:
    entries = [kv("split.no", U16, no), kv("split.count", U16, count), kv("split.tensors.count", I32, total), *extra]
    return Image([ARCHITECTURE, *entries] if no == 0 else entries, tensors)


def write_set(folder: Path, name: str = "model", *, replace: dict[int, Image | None] | None = None) -> Path:
    images: dict[int, Image | None] = {
        0: shard(0, 3, [Tensor("a", [8])]),
        1: shard(1, 3, [Tensor("b", [32, 2], GGML_Q8_0)]),
        2: shard(2, 3, [Tensor("c", [4, 4])]),
    }
    images.update(replace or {})
    for no, image in images.items():
        if image is not None:
            (folder / f"{name}-{no + 1:05}-of-00003.gguf").write_bytes(bytes(image))
    return folder / f"{name}-00001-of-00003.gguf"


def test_read_as_one(tmp_path: Path) -> None:
    first = write_set(tmp_path)
    with GGUFFile(first) as file:
        assert [(t.name, t.shard, t.shape) for t in file.tensors.values()] == [
            ("a", 0, (8,)),
            ("b", 1, (2, 32)),
            ("c", 2, (4, 4)),
        ]
        assert file.architecture == "qwen3"
        assert file.info["paths"] == [str(tmp_path / f"model-0000{i}-of-00003.gguf") for i in (1, 2, 3)]
        assert file.tensors["c"].numpy().tobytes() == bytes(i % 251 for i in range(64))
        for tensor in file.tensors.values():
            content = Path(file.info["paths"][tensor.shard]).read_bytes()
            at = tensor.file_offset
            assert tensor.numpy().tobytes() == content[at : at + tensor.nbytes]


def test_first_shard_without_tensors(tmp_path: Path) -> None:
    first = write_set(tmp_path, replace={0: shard(0, 3, [], total=2), 1: shard(1, 3, [Tensor("b", [8])], total=2),
                                         2: shard(2, 3, [Tensor("c", [8])], total=2)})  # fmt: skip
    assert list(GGUFFile(first).tensors) == ["b", "c"]


@pytest.mark.parametrize("no", [1, 2])
def test_missing_shard(refuse: Refuse, tmp_path: Path, no: int) -> None:
    first = write_set(tmp_path, replace={no: None})
    refuse(first, FileError, f"model-0000{no + 1}-of-00003.gguf", "No such file", f"shard {no + 1} of the 3")


def test_repeated_shard(refuse: Refuse, tmp_path: Path) -> None:
    first = write_set(tmp_path, replace={2: shard(1, 3, [Tensor("b", [32, 2], GGML_Q8_0)])})
    refuse(first, FormatError, "model-00003-of-00003.gguf", "repeated", "shard 2 where 3 of the set")


def test_shard_of_a_set_of_another_size(refuse: Refuse, tmp_path: Path) -> None:
    first = write_set(tmp_path, replace={1: shard(1, 4, [Tensor("b", [8])])})
    refuse(first, FormatError, "model-00002-of-00003.gguf", "foreign", "set of 4 files")


def test_shard_of_a_set_with_other_tensors(refuse: Refuse, tmp_path: Path) -> None:
    first = write_set(tmp_path, replace={1: shard(1, 3, [Tensor("b", [8])], total=99)})
    refuse(first, FormatError, "model-00002-of-00003.gguf", "foreign", "99 tensors")


def test_shard_of_another_architecture(refuse: Refuse, tmp_path: Path) -> None:
    other = shard(1, 3, [Tensor("b", [8])], extra=(kv("general.architecture", STRING, "llama"),))
    refuse(write_set(tmp_path, replace={1: other}), FormatError, "model-00002-of-00003.gguf", "foreign", "'llama'")


def test_shard_that_is_no_shard(refuse: Refuse, tmp_path: Path) -> None:
    first = write_set(tmp_path, replace={1: Image([ARCHITECTURE], [Tensor("b", [8])])})
    refuse(first, FormatError, "model-00002-of-00003.gguf", "foreign")


def test_same_tensor_in_two_shards(refuse: Refuse, tmp_path: Path) -> None:
    first = write_set(tmp_path, replace={2: shard(2, 3, [Tensor("a", [8])])})
    refuse(first, FormatError, "model-00003-of-00003.gguf", "'a'", "duplicate")


def test_too_few_tensors(refuse: Refuse, tmp_path: Path) -> None:
    first = write_set(tmp_path, replace={2: shard(2, 3, [])})
    refuse(first, FormatError, "split.tensors.count", "is 3", "hold 2")


def test_truncated_shard(refuse: Refuse, tmp_path: Path) -> None:
    first = write_set(tmp_path)
    last = tmp_path / "model-00003-of-00003.gguf"
    last.write_bytes(last.read_bytes()[:-1])
    with pytest.raises(FormatError, match=r"model-00003-of-00003\.gguf.*'c'.*beyond the end"):
        GGUFFile(first)


def test_another_shard_than_the_first(tmp_path: Path) -> None:
    write_set(tmp_path)
    with pytest.raises(InvalidArgumentError, match=r"shard 2 of 3.*open the first"):
        GGUFFile(tmp_path / "model-00002-of-00003.gguf")


@pytest.mark.parametrize(
    "name", ["renamed.gguf", "model-00002-of-00003.gguf", "model-00001-of-00004.gguf", "model-0001-of-0003.gguf"]
)
def test_renamed_first_shard(refuse: Refuse, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(bytes(shard(0, 3, [Tensor("a", [8])])))
    refuse(path, FormatError, "original names")


@pytest.mark.parametrize(
    "entries, word",
    [
        ([kv("split.count", U16, 3)], "split.no"),
        ([kv("split.count", U16, 3), kv("split.no", U16, 3)], "split.no"),
        ([kv("split.count", F32, 3.0), kv("split.no", U16, 0)], "split.count"),
        ([kv("split.count", I32, -1), kv("split.no", U16, 0)], "split.count"),
        ([kv("split.count", I32, 1 << 30), kv("split.no", U16, 0)], "split.count"),
        ([kv("split.no", U16, 5)], "split.no"),
    ],
)
def test_nonsense_about_splits(refuse: Refuse, tmp_path: Path, entries: list[bytes], word: str) -> None:
    path = tmp_path / "model-00001-of-00003.gguf"
    path.write_bytes(bytes(Image([ARCHITECTURE, *entries], [Tensor("a", [8])])))
    refuse(path, FormatError, word)


def test_a_set_of_one(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    entries = [kv("split.no", U16, 0), kv("split.count", U16, 1), kv("split.tensors.count", I32, 1)]
    path.write_bytes(bytes(Image([ARCHITECTURE, *entries], [Tensor("a", [8])])))
    assert list(GGUFFile(path).tensors) == ["a"]


def test_a_shard_that_is_no_gguf(refuse: Refuse, tmp_path: Path) -> None:
    first = write_set(tmp_path)
    (tmp_path / "model-00002-of-00003.gguf").write_bytes(u64(0) * 100)
    with pytest.raises(FormatError, match=r"model-00002-of-00003\.gguf.*magic"):
        GGUFFile(first)
