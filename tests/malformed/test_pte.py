"""Damaged programs: a typed error that names the file, or a result; never the end of the process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from shared_models import Mlp, child

from executorch_ggml.errors import FormatError, GgmlError, UnsupportedError
from executorch_ggml.runtime.program import Program, payloads

CHILD = Path(__file__).with_name("pte_child.py")


def run_child(mlp: Mlp, folder: Path, mode: str, *arguments: object) -> dict[str, int]:
    command = [CHILD, mode, mlp.bare_pte, mlp.gguf, folder / "damaged.pte", *arguments]
    done = child(*(str(part) for part in command), timeout=500)
    *before, last = done.stdout.splitlines() or ["nothing"]
    where = before[-1] if before and not last.startswith("outcomes") else last
    assert done.returncode == 0, f"exit {done.returncode} at '{where}'\n{done.stderr[-2000:]}"
    pairs = (entry.split("=") for entry in last.split()[1:])
    return {name: int(count) for name, count in pairs}


def test_every_byte_of_the_first_4_kb(mlp: Mlp, tmp_path: Path) -> None:
    counts = run_child(mlp, tmp_path, "flip")
    assert sum(counts.values()) == min(4096, mlp.bare_pte.stat().st_size)
    assert counts["FormatError"] > counts["ok"] > 0
    assert not {"hang", "no message"} & set(counts)


@pytest.mark.parametrize("seed", [1, 2])
def test_random_damage(mlp: Mlp, tmp_path: Path, seed: int) -> None:
    counts = run_child(mlp, tmp_path, "random", 3000, seed)
    assert sum(counts.values()) == 3000
    assert not {"hang", "no message"} & set(counts)


def test_truncated(mlp: Mlp, tmp_path: Path) -> None:
    content = mlp.pte.read_bytes()
    path = tmp_path / "cut.pte"
    for length in range(0, len(content), 61):
        path.write_bytes(content[:length])
        with pytest.raises(FormatError, match=r"cut\.pte"):
            Program(path, threads=1, methods=["forward"])


def damaged_payload(mlp: Mlp, path: Path, change: bytes, at: int) -> Path:
    content = bytearray(mlp.bare_pte.read_bytes())
    (payload,) = payloads(mlp.bare_pte)
    start = content.index(payload.data)
    content[start + at : start + at + len(change)] = change
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "change, at, kind",
    [
        (b"XXXX", 4, FormatError),  # another magic
        (b"\xff\xff\xff\xff", 0, FormatError),  # the root lies outside
        (b"\0" * 64, 0, FormatError),
        (b"\xff" * 64, 8, FormatError),
    ],
)
def test_damaged_payload(mlp: Mlp, tmp_path: Path, change: bytes, at: int, kind: type[GgmlError]) -> None:
    path = damaged_payload(mlp, tmp_path / "payload.pte", change, at)
    with pytest.raises(kind, match=r"payload\.pte"):
        Program(path, mlp.gguf, threads=1, methods=["forward"])
    with Program(mlp.bare_pte, mlp.gguf, threads=1) as program:  # nothing was left behind
        x = np.ones((2, 8), np.float32)
        assert np.allclose(program(x)[0], mlp.reference(x), rtol=1e-5, atol=1e-5)


def test_missing_field_of_a_delegate(mlp: Mlp, tmp_path: Path) -> None:
    """ExecuTorch reads some fields without asking whether they are there; we ask first."""
    content = mlp.bare_pte.read_bytes()
    at = content.index(b"GgmlBackend")
    refused = 0
    for back in range(2, 400, 2):  # one of the 16-bit words before the name is the vtable entry of the field
        damaged = bytearray(content)
        damaged[at - back : at - back + 2] = b"\0\0"
        path = tmp_path / "field.pte"
        path.write_bytes(damaged)
        try:
            Program(path, mlp.gguf, threads=1, methods=["forward"]).close()
        except (FormatError, UnsupportedError) as error:
            refused += "delegate 0 has no" in str(error)
        except GgmlError:
            pass
    assert refused >= 1
