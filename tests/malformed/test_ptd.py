"""Damaged external data (`.ptd`): a typed error or a result, never the end of the process."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from shared_models import child

from executorch_ggml.errors import FormatError
from executorch_ggml.runtime.program import Program

X = np.ones((2, 8), np.float32)


@pytest.fixture(scope="module")
def external(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A program for ExecuTorch's kernels and its constants beside it."""
    import torch
    from executorch.exir import ExecutorchBackendConfig, to_edge
    from torch import nn

    folder = tmp_path_factory.mktemp("external")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3)).eval()
    program = to_edge(torch.export.export(net, (torch.ones(2, 8),))).to_executorch(
        ExecutorchBackendConfig(external_constants=True)
    )
    pte = folder / "external.pte"
    pte.write_bytes(bytes(program.buffer))
    program.write_tensor_data_to_file(str(folder))
    (ptd,) = folder.glob("*.ptd")
    return pte, ptd


def test_the_data_is_read(external: tuple[Path, Path]) -> None:
    assert Program(external[0], data_path=external[1], threads=1)(X)[0].shape == (2, 3)


def patched(offset: int, value: int, width: str = "<Q") -> Callable[[bytearray], None]:
    def patch(content: bytearray) -> None:
        struct.pack_into(width, content, offset, value)

    return patch


@pytest.mark.parametrize(
    "change",
    [
        patched(0, 2**31, "<I"),  # the root
        patched(4, 0, "<I"),  # the identifier
        patched(8, 0, "<I"),  # the magic of the header
        patched(12, 4, "<I"),  # its length
        patched(16, 2**40),  # where the tables begin
        patched(24, 2**40),  # their size
        patched(24, 0),
        patched(32, 2**63),  # where the data begins
        patched(32, 2**64 - 8),
    ],
)
def test_a_damaged_header(external: tuple[Path, Path], tmp_path: Path, change: Callable[[bytearray], None]) -> None:
    content = bytearray(external[1].read_bytes())
    change(content)
    path = tmp_path / "damaged.ptd"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"damaged\.ptd"):
        Program(external[0], data_path=path, threads=1)


def test_every_truncation(external: tuple[Path, Path], tmp_path: Path) -> None:
    content, path = external[1].read_bytes(), tmp_path / "cut.ptd"
    for length in range(0, len(content), 13):
        path.write_bytes(content[:length])
        with pytest.raises(FormatError, match=r"cut\.ptd"):
            Program(external[0], data_path=path, threads=1, methods=["forward"])


def test_every_byte_of_the_tables(external: tuple[Path, Path], tmp_path: Path) -> None:
    pte, ptd = external
    code = f"""
import struct
import numpy as np
from executorch_ggml.runtime.program import Program
from executorch_ggml.errors import GgmlError
content = open({str(ptd)!r}, "rb").read()
end = sum(struct.unpack_from("<QQ", content, 16))
refused = 0
for flip in (0xFF, 0x01, 0x80):
    for at in range(end):
        print("at", at, flush=True)
        damaged = bytearray(content)
        damaged[at] ^= flip
        open({str(tmp_path / "flip.ptd")!r}, "wb").write(damaged)
        try:
            Program({str(pte)!r}, data_path={str(tmp_path / "flip.ptd")!r}, threads=1)(np.ones((2, 8), np.float32))
        except GgmlError as error:
            assert str(error)
            refused += 1
print("refused", refused, 3 * end)
"""
    done = child("-c", code, timeout=300)
    last = done.stdout.splitlines()[-1]
    assert done.returncode == 0, f"exit {done.returncode} after '{last}'\n{done.stderr[-1000:]}"
    _, refused, tried = last.split()
    assert int(tried) // 4 < int(refused) < int(tried)
