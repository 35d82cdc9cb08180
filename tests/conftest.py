"""Fixtures shared by all tests. Everything is made on first use, once a session: collecting tests imports no torch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from shared_models import Mlp, TinyLlm, child, lower_to_file, write_mlp_gguf

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # for `benchmarks`, which is not part of the package
    sys.path.append(str(ROOT))


@pytest.fixture(scope="session")
def mlp(tmp_path_factory: pytest.TempPathFactory) -> Mlp:
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(8, 32), nn.Linear(32, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc2(torch.relu(self.fc1(x)))

    folder = tmp_path_factory.mktemp("mlp")
    torch.manual_seed(0)
    net, x, dynamic = Net(), torch.randn(3, 8), {"x": {0: torch.export.Dim("batch", min=1, max=16)}}
    weights = {name: value.detach().numpy().copy() for name, value in net.state_dict().items()}
    return Mlp(
        pte=lower_to_file(net, (x,), folder / "mlp.pte", dynamic=dynamic),
        bare_pte=lower_to_file(net, (x,), folder / "bare.pte", dynamic=dynamic, weights="external"),
        gguf=write_mlp_gguf(folder / "mlp.gguf", weights),
        weights=weights,
    )


@pytest.fixture(scope="session")
def slow_pte(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """x float32 [512, 1024] -> the same shape, in some tenths of a second of one thread: 16 dependent products."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(1024, 1024, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for _ in range(16):
                x = torch.relu(self.fc(x))
            return x

    torch.manual_seed(0)
    return lower_to_file(Net(), (torch.randn(512, 1024),), tmp_path_factory.mktemp("slow") / "slow.pte")


@pytest.fixture(scope="session")
def counter_pte(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """x float32 [4] -> the sum of all x since the last reset: a program with a state."""
    import torch
    from torch import nn

    class Net(nn.Module):
        total: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("total", torch.zeros(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.total.add_(x)
            return self.total * 1.0

    return lower_to_file(Net(), (torch.ones(4),), tmp_path_factory.mktemp("counter") / "counter.pte")


@pytest.fixture(scope="session")
def tiny_llm(tmp_path_factory: pytest.TempPathFactory) -> TinyLlm:
    from executorch_ggml.gguf.header import read_header
    from executorch_ggml.llm.export import GGUFExportConfig, export_gguf_to_pte
    from tests.support.make_gguf import write_gguf

    folder = tmp_path_factory.mktemp("tiny_llm")
    gguf = write_gguf(folder / "tiny.gguf", arch="qwen3", type="f32")[0]
    pte = folder / "tiny.pte"
    export_gguf_to_pte(gguf, pte, GGUFExportConfig(max_seq_len=32))
    return TinyLlm(pte, gguf, 32, vocab=read_header(gguf).tensors["token_embd.weight"].shape[0])


@pytest.fixture(scope="session")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> TinyLlm:
    """The model of assets/, which has a tokenizer and speaks."""
    from executorch_ggml.llm.export import GGUFExportConfig, export_gguf_to_pte

    gguf = ROOT / "assets" / "scripture-2.9m-q8_0.gguf"
    pte = tmp_path_factory.mktemp("bundled") / "bundled.pte"
    export_gguf_to_pte(gguf, pte, GGUFExportConfig(max_seq_len=96))
    return TinyLlm(pte, gguf, 96, vocab=2048)


@pytest.fixture
def run_python() -> Callable[[str], str]:
    """Runs code in a fresh interpreter; returns its stdout, fails on any other end than exit 0."""

    def run(code: str) -> str:
        done = child("-c", code, timeout=120)
        assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run
