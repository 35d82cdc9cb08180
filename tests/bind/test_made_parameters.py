"""Parameters that the file keeps in another form: rows of a tensor, and a number added."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from executorch_ggml import Program, export_with_gguf, load_gguf
from executorch_ggml.analysis.nmse import nmse
from executorch_ggml.errors import BindError, InvalidArgumentError
from executorch_ggml.gguf.header import read_header
from executorch_ggml.llm.bind.names import bind
from executorch_ggml.llm.bind.tensors import Tensor
from executorch_ggml.runtime.program import payloads
from tests.support.make_gguf import write_gguf

pytestmark = pytest.mark.filterwarnings("ignore")

WIDTH = 256
UP = "blk.0.ffn_up.weight"


class Halves(nn.Module):
    """Rows of one matrix of the file as two products, behind a norm of which the file has one more."""

    def __init__(self, rows: int, device: str = "cpu") -> None:
        super().__init__()
        self.gate = nn.Linear(WIDTH, rows, bias=False, device=device)
        self.up = nn.Linear(WIDTH, rows, bias=False, device=device)
        self.scale = nn.Parameter(torch.zeros(WIDTH, device=device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x * (1 + self.scale)
        result: torch.Tensor = torch.nn.functional.silu(self.gate(x)) * self.up(x)
        return result


def names(rows: int) -> dict[str, Tensor]:
    whole = Tensor(UP)
    return {
        "gate.weight": whole.rows(0, rows),
        "up.weight": whole.rows(rows, 2 * rows),
        "scale": Tensor("blk.0.ffn_norm.weight").plus(-1.0),
    }


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(("kind", "bound"), [("f32", 1e-10), ("q8_0", 1e-3), ("q4_k", 5e-3)])
def test_rows_and_a_number_are_eager(tmp_path: Path, kind: str, bound: float, device: str) -> None:
    path = write_gguf(tmp_path / "m.gguf", arch="qwen3", type=kind)[0]
    tensors = read_header(path).tensors
    rows = tensors[UP].shape[0] // 2
    module = Halves(rows, device)
    before = dict(module.named_parameters())
    x = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(1))
    shapes = {"x": {0: torch.export.Dim("n", min=1, max=64)}}
    pte = tmp_path / "m.pte"
    result = export_with_gguf(module, (torch.zeros(3, WIDTH),), path, pte, names=names(rows), dynamic_shapes=shapes)
    assert all(parameter is before[name] for name, parameter in module.named_parameters())
    assert UP not in result.binding.unused
    assert result.bytes < 4 * rows * WIDTH // 2  # no matrix is stored
    assert len(payloads(pte)) == 1
    eager = load_gguf(module, path, names=names(rows))
    with Program(pte, path, threads=1) as program, torch.no_grad():
        want = eager(x).numpy()
        assert nmse(program(x.numpy())[0], want) < bound
        swapped = names(rows) | {"gate.weight": Tensor(UP).rows(rows, 2 * rows)}
        assert nmse(load_gguf(module, path, names=swapped)(x).numpy(), want) > 0.1  # the rows count
        without = names(rows) | {"scale": Tensor("blk.0.ffn_norm.weight")}
        assert nmse(load_gguf(module, path, names=without)(x).numpy(), want) > 0.1  # so does the number


def test_wrong_expressions_are_refused(tmp_path: Path) -> None:
    header = read_header(write_gguf(tmp_path / "m.gguf", arch="qwen3", type="q8_0")[0])
    rows = header.tensors[UP].shape[0] // 2
    module = Halves(rows)
    for wrong, message in (
        (Tensor(UP).rows(rows + 1, 2 * rows + 1), "the tensor has shape"),
        (Tensor(UP).rows(0, rows - 1), "do not fit"),
        (Tensor(UP).rows(0, rows).plus(1), "quantised blocks"),
        (Tensor("absent.weight"), "no tensor in the file"),
    ):
        with pytest.raises(BindError, match=message):
            bind(module, header, names(rows) | {"up.weight": wrong})
    for begin, end in ((-1, 2), (2, 2), (0, 1.5)):
        with pytest.raises(InvalidArgumentError, match="0 <= begin < end"):
            Tensor(UP).rows(begin, end)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="of 4 rows"):
        Tensor(UP).rows(2, 6).rows(3, 5)
    assert Tensor(UP).rows(2, 6).rows(1, 3).range == (3, 5)
    with pytest.raises(InvalidArgumentError, match="finite"):
        Tensor(UP).plus(float("nan"))
