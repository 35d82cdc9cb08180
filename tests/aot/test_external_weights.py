"""`weights="external"`: which tensors a file has to bring, and which data the program computes with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.export import export

from executorch_ggml import GgmlPartitioner, Program, to_edge_rewrite_and_lower
from executorch_ggml.errors import UnsupportedError

pytestmark = pytest.mark.filterwarnings("ignore")


class Net(nn.Module):
    """Parameters, buffers of both kinds, batch norm, numbers in the code, and arithmetic on parameters alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(8, 8, bias=False), nn.BatchNorm1d(8)
        self.gain = nn.Parameter(torch.rand(8))
        self.register_buffer("table", torch.rand(8), persistent=False)
        self.register_buffer("kept", torch.rand(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.layer(x)) * (1 + self.gain).exp()
        return torch.tanh(y / 30.0) * 30.0 * self.table + self.kept + torch.tensor([0.5]) + 2.5


def write(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    import gguf

    writer = gguf.GGUFWriter(path, "test")
    for name, data in tensors.items():
        writer.add_tensor(name, data.detach().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_only_parameters_are_asked_of_the_file(tmp_path: Path) -> None:
    """The weights that compute are the file's, also where the graph only does arithmetic with them."""
    torch.manual_seed(0)
    exported, other = Net().eval(), Net().eval()
    edge = to_edge_rewrite_and_lower(export(exported, (torch.zeros(2, 8),)), partitioner=GgmlPartitioner("external"))
    path = tmp_path / "external.pte"
    path.write_bytes(edge.to_executorch().buffer)
    weights = write(tmp_path / "other.gguf", dict(other.named_parameters()))
    want = Net().eval()
    want.load_state_dict({**exported.state_dict(), **dict(other.named_parameters())})
    want.table = exported.table
    x = torch.rand(2, 8)
    (got,) = Program(path, weights, threads=1)(x)
    torch.testing.assert_close(got, want(x), rtol=1e-5, atol=1e-5)


def test_a_buffer_of_the_file_wins(tmp_path: Path) -> None:
    torch.manual_seed(0)
    exported, other = Net().eval(), Net().eval()
    with torch.no_grad():
        other.norm.running_mean.uniform_()
        other.norm.running_var.uniform_(0.5, 2.0)
    edge = to_edge_rewrite_and_lower(export(exported, (torch.zeros(2, 8),)), partitioner=GgmlPartitioner("external"))
    path = tmp_path / "external.pte"
    path.write_bytes(edge.to_executorch().buffer)
    tensors = {k: v for k, v in other.state_dict().items() if v.dtype == torch.float32}
    weights = write(tmp_path / "other.gguf", tensors)
    other.table = exported.table  # in no checkpoint
    x = torch.rand(2, 8)
    (got,) = Program(path, weights, threads=1)(x)
    torch.testing.assert_close(got, other(x), rtol=1e-5, atol=1e-5)


def test_a_parameter_outside_ggml_is_refused() -> None:
    """ExecuTorch would store its present data and compute with that, whatever the file says."""

    class Outside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.gain = nn.Linear(8, 8), nn.Parameter(torch.rand(8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x) * torch.erf(self.gain)

    program = export(Outside().eval(), (torch.rand(2, 8),))
    with pytest.raises(UnsupportedError, match=r"a file brings gain.*erf.*outside ggml"):
        to_edge_rewrite_and_lower(program, partitioner=GgmlPartitioner("external"))
    to_edge_rewrite_and_lower(program, partitioner=GgmlPartitioner("embedded"))
