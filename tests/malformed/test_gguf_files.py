"""What a path may name besides a GGUF file, and a file that changes after it was opened."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest
from gguf_bytes import GGML_F32, Image, Refuse, Tensor, text, u32, u64, valid
from shared_models import child

from executorch_ggml.errors import BindError, FileError, FormatError, GgmlError, InvalidArgumentError
from executorch_ggml.runtime.gguf_file import GGUFFile

pytestmark = pytest.mark.quick


def test_missing(refuse: Refuse, tmp_path: Path) -> None:
    refuse(tmp_path / "nowhere.gguf", FileError, "No such file")


def test_directory(refuse: Refuse, tmp_path: Path) -> None:
    refuse(tmp_path, FileError, "directory")


@pytest.mark.timeout(20)
def test_fifo(refuse: Refuse, tmp_path: Path) -> None:
    """Opening a FIFO without a writer blocks for ever; it must not be opened at all."""
    path = tmp_path / "pipe.gguf"
    os.mkfifo(path)
    refuse(path, FileError, "FIFO")


def test_device(refuse: Refuse) -> None:
    refuse(Path("/dev/zero"), FileError, "device")


def test_symlink_loop(refuse: Refuse, tmp_path: Path) -> None:
    a, b = tmp_path / "a.gguf", tmp_path / "b.gguf"
    a.symlink_to(b)
    b.symlink_to(a)
    refuse(a, FileError, "symbolic links")


def test_symlink_to_a_file_is_followed(tmp_path: Path, good_file: Path) -> None:
    link = tmp_path / "link.gguf"
    link.symlink_to(good_file)
    with GGUFFile(link) as a, GGUFFile(good_file) as b:
        assert a.info["id"] == b.info["id"]


def test_unreadable(good_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "secret.gguf"
    path.write_bytes(good_file.read_bytes())
    path.chmod(0)
    if os.geteuid() != 0:
        with pytest.raises(FileError, match=r"secret\.gguf.*Permission denied"):
            GGUFFile(path)
        return
    # root reads everything: give the rights up in a child
    code = textwrap.dedent(f"""
        import os
        from executorch_ggml import FileError, GGUFFile
        GGUFFile({str(good_file)!r}).close()  # loads the library while it may
        os.setgid(65534); os.setuid(65534)
        try:
            GGUFFile({str(path)!r})
        except FileError as error:
            assert "secret.gguf" in str(error) and "ermission" in str(error), error
            print("refused")
    """)
    done = child("-c", code, timeout=60)
    assert done.stdout == "refused\n", done.stderr


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises((InvalidArgumentError, ValueError)):
        GGUFFile(path)


def test_sparse_terabyte(tmp_path: Path) -> None:
    """Reading a header costs the header, whatever the file claims to hold after it."""
    path = tmp_path / "huge.gguf"
    size = 1 << 40
    head = b"GGUF" + u32(3) + u64(1) + u64(0) + text("t") + u32(1) + u64(size // 4) + u32(GGML_F32) + u64(0)
    head += bytes(-len(head) % 32)
    with path.open("wb") as file:
        file.write(head)
        try:
            file.truncate(len(head) + size)
        except OSError:
            pytest.skip("this file system has no files of a terabyte")
    with GGUFFile(path) as opened:
        assert opened.tensors["t"].nbytes == size
        assert not opened.tensors["t"].numpy()[-1]
    path.write_bytes(head)
    with pytest.raises(FormatError, match="beyond the end"):
        GGUFFile(path)


def test_views_outlive_the_file_object(good_file: Path) -> None:
    file = GGUFFile(good_file)
    view = file.tensors["token_embd.weight"].numpy()
    before = view.copy()
    file.close()
    file.close()
    assert (view == before).all()
    assert not view.flags.writeable
    for use in (lambda: file.metadata, lambda: file.tensors, lambda: file.info, lambda: file.dequantize("x")):
        with pytest.raises(GgmlError, match="closed"):
            use()


def test_unknown_tensor_names_the_nearest(good_file: Path) -> None:
    with GGUFFile(good_file) as file:
        with pytest.raises(BindError, match=r"good\.gguf.*'blk\.0\.atn_q\.weight'.*'blk\.0\.attn_q\.weight'"):
            file.tensors["blk.0.atn_q.weight"]
        assert file.tensors.get("nonsense") is None
        with pytest.raises(BindError):
            file.dequantize("nonsense")


def test_identity_follows_the_content(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(bytes(valid()))
    with GGUFFile(path) as a, GGUFFile(path) as b:
        assert a.info["id"] == b.info["id"]
        first = a.info["id"]
    os.utime(path, ns=(1, 1))
    with GGUFFile(path) as c:
        assert c.info["id"] != first


def test_file_that_shrinks_after_it_was_opened(tmp_path: Path) -> None:
    """Reading the lost part of a mapping is SIGBUS, which nothing in Python survives."""
    path = tmp_path / "shrinks.gguf"
    path.write_bytes(bytes(valid()))
    with GGUFFile(path) as file:
        assert file.metadata["test.u8"] == 200
        tensor = file.tensors["token_embd.weight"]
        tensor.numpy()
        os.truncate(path, 10)
        assert file.metadata["test.u8"] == 200  # decoded before
        reads = (
            tensor.numpy,
            tensor.dequantize,
            lambda: file.metadata["test.u16"],
            lambda: file.dequantize("output.weight"),
        )
        for read in reads:
            with pytest.raises(FileError, match=r"shrinks\.gguf: the file changed after it was opened"):
                read()
    with pytest.raises(FormatError):
        GGUFFile(path)


def test_a_thousand_opens_leak_nothing(good_file: Path) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    bad = good_file.with_name("bad.gguf")
    bad.write_bytes(bytes(Image(tensors=[Tensor("a", [8]), Tensor("a", [8])])))

    def cycle(times: int) -> None:
        for _ in range(times):
            GGUFFile(good_file).close()
            with pytest.raises(FormatError):
                GGUFFile(bad)

    cycle(200)
    before, open_before = resident(), descriptors()
    cycle(1000)
    assert descriptors() == open_before
    assert resident() - before < 1 << 20
