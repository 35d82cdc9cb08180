"""Names, shapes and facts of a module and a GGUF: checked, and wrong ones refused with a reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from executorch_ggml import Program, export_with_gguf, load_gguf
from executorch_ggml.errors import BindError, InvalidArgumentError, MismatchError, UnsupportedError
from executorch_ggml.gguf.header import read_header
from executorch_ggml.llm.bind.names import bind
from tests.support.make_gguf import write_gguf

pytestmark = pytest.mark.filterwarnings("ignore")

WIDTH, VOCABULARY, HEAD = 256, 512, 128  # of the tiny models
TOKENS = (torch.zeros(1, 3, dtype=torch.int64),)


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("bind") / "qwen3.gguf", arch="qwen3", tied=True)[0]


class Embedding(nn.Module):
    """tokens -> their normalised embeddings, multiplied by a weight of the module's own."""

    def __init__(self, width: int = WIDTH, eps: float = 1e-6, gain: str = "gain") -> None:
        super().__init__()
        self.token_embd, self.output_norm = nn.Embedding(VOCABULARY, width), nn.RMSNorm(width, eps)
        self.register_parameter(gain, nn.Parameter(torch.full((width,), 2.0)))
        self.gain_name = gain

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.output_norm(self.token_embd(tokens)) * getattr(self, self.gain_name)
        return result


class Around(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.inner(tokens)
        return result


def eps_of(path: Path) -> float:
    value = read_header(path)["qwen3.attention.layer_norm_rms_epsilon"]
    assert isinstance(value, float)
    return value


def test_names_behind_a_prefix_and_own_weights(gguf: Path, tmp_path: Path) -> None:
    module = Around(Embedding(eps=eps_of(gguf)))
    result = export_with_gguf(module, TOKENS, gguf, tmp_path / "m.pte", own=["*.gain"])
    assert result.binding.own == {"inner.gain"}
    assert result.checked["RMSNorm epsilon"] == "same"
    assert result.checked["RoPE base"] == "not found in the graph"
    want = load_gguf(module, gguf, own=["*.gain"])
    tokens = np.array([[3, 500, 7]])
    with Program(tmp_path / "m.pte", gguf, threads=1) as program, torch.no_grad():
        np.testing.assert_allclose(program(tokens)[0], want(torch.from_numpy(tokens)).numpy(), rtol=1e-5, atol=1e-5)


def test_missing_names_are_told_with_near_ones(gguf: Path) -> None:
    module = Embedding(gain="output_nrm")
    with pytest.raises(BindError, match=r"(?s)1 parameters.*output_nrm; the file has output_norm.weight.*own="):
        bind(module, read_header(gguf))


def test_shapes_are_compared(gguf: Path) -> None:
    with pytest.raises(
        BindError, match=r"token_embd.weight has shape \(512, 128\), token_embd.weight has \(512, 256\)"
    ):
        bind(Embedding(width=128), read_header(gguf), own=["gain"])


def test_a_mapping_and_a_function(gguf: Path, tmp_path: Path) -> None:
    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(VOCABULARY, WIDTH)
            self.bias = nn.Parameter(torch.ones(WIDTH))

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.words(tokens) + self.bias
            return result

    mapping = {"words.weight": ["absent.weight", "token_embd.weight"], "bias": "output_norm.weight"}
    by_function = {"words.weight": "token_embd.weight"}.get  # None for the bias: the module's own
    tokens = np.array([[1, 511]])
    for names, own in ((mapping, frozenset()), (by_function, {"bias"})):
        result = export_with_gguf(Other(), TOKENS, gguf, tmp_path / "m.pte", names=names, dynamic_shapes=None)
        assert result.binding.own == own
        want = load_gguf(Other(), gguf, names=names)
        with Program(tmp_path / "m.pte", gguf, threads=1) as program, torch.no_grad():
            ids = np.pad(tokens, ((0, 0), (0, 1)))
            np.testing.assert_allclose(program(ids)[0], want(torch.from_numpy(ids)).numpy(), rtol=1e-5, atol=1e-6)


def test_a_tied_head_is_the_embedding(gguf: Path) -> None:
    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.output = nn.Linear(WIDTH, VOCABULARY, bias=False)

    header = read_header(gguf)
    assert "output.weight" not in header.tensors
    wanted = ("output.weight", "token_embd.weight")
    assert bind(Head(), header).keys == {"output.weight": wanted}
    assert bind(Around(Head()), header).keys == {"inner.output.weight": wanted}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"own": ["gian"]}, "no parameter is called 'gian'"),
        ({"own": "gain"}, "must be a list of patterns"),
        ({"names": 3}, "names must be 'gguf', 'hf', a mapping or a function"),
        ({"names": {"gain": []}}, "want the name of a tensor"),
    ],
)
def test_wrong_arguments(gguf: Path, arguments: dict[str, object], text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=text):
        bind(Embedding(), read_header(gguf), **arguments)  # type: ignore[arg-type]


def test_own_weights_need_data(gguf: Path) -> None:
    with torch.device("meta"):
        module = Embedding()
    with pytest.raises(InvalidArgumentError, match="gain: the module's own, but on the meta device"):
        bind(module, read_header(gguf), own=["gain"])


def test_a_table_on_the_meta_device_is_no_table_of_zeros(gguf: Path, tmp_path: Path) -> None:
    class Scaled(Embedding):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", torch.arange(256.0), persistent=False)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return super().forward(tokens) * self.table

    with torch.device("meta"):
        module = Scaled()
    module.gain = nn.Parameter(torch.ones(WIDTH))
    with pytest.raises(InvalidArgumentError, match="table: a buffer on the meta device has no data"):
        export_with_gguf(module, TOKENS, gguf, tmp_path / "m.pte", own=["gain"])
    with pytest.raises(InvalidArgumentError, match="table: a buffer on the meta device has no data"):
        load_gguf(module, gguf, own=["gain"])


def test_files_that_keep_weights_differently_are_refused(tmp_path: Path) -> None:
    llama = write_gguf(tmp_path / "llama.gguf", arch="llama")[0]
    with pytest.raises(UnsupportedError, match="names='hf' is for architectures that keep each weight"):
        bind(Embedding(), read_header(llama), "hf", own=["gain"])


def test_another_number_than_the_file_states(gguf: Path, tmp_path: Path) -> None:
    wrong = Embedding(eps=0.25)
    with pytest.raises(MismatchError, match=r"RMSNorm epsilon: the graph has 0.25, expected is"):
        export_with_gguf(wrong, TOKENS, gguf, tmp_path / "m.pte", own=["gain"])
    assert not (tmp_path / "m.pte").exists()
    for expect in ({"RMSNorm epsilon": 0.25}, {"RMSNorm epsilon": None}, None):
        export_with_gguf(wrong, TOKENS, gguf, tmp_path / "m.pte", own=["gain"], expect=expect)
    with pytest.raises(MismatchError, match=r"expected is 0\.5"):
        export_with_gguf(wrong, TOKENS, gguf, tmp_path / "m.pte", own=["gain"], expect={"RMSNorm epsilon": 0.5})
    with pytest.raises(InvalidArgumentError, match="expect: epsilon is none of"):
        export_with_gguf(wrong, TOKENS, gguf, tmp_path / "m.pte", own=["gain"], expect={"epsilon": None})
    with pytest.raises(InvalidArgumentError, match="expect must be"):
        export_with_gguf(wrong, TOKENS, gguf, tmp_path / "m.pte", own=["gain"], expect="off")


class Attention(nn.Module):
    """One head layout of attention with RoPE, on the embeddings themselves."""

    def __init__(self, base: float, halves: bool = True, heads: int = 4, kv_heads: int = 2) -> None:
        super().__init__()
        self.token_embd = nn.Embedding(VOCABULARY, WIDTH)
        self.base, self.halves, self.heads, self.kv_heads = base, halves, heads, kv_heads

    def rotate(self, x: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
        cos, sin = angle.cos(), angle.sin()
        if self.halves:
            first, second = x.chunk(2, -1)
            return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)
        even, odd = x[..., ::2], x[..., 1::2]
        return torch.stack((even * cos - odd * sin, odd * cos + even * sin), -1).flatten(-2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.token_embd(tokens).unflatten(2, (2, HEAD)).transpose(1, 2)
        x = torch.cat((x, x), 1)[:, : self.heads]
        angle = torch.outer(
            torch.arange(tokens.shape[1]).float(), self.base ** -(torch.arange(0, HEAD, 2).float() / HEAD)
        )
        q, k = self.rotate(x, angle), self.rotate(x[:, : self.kv_heads], angle)
        v = x[:, : self.kv_heads]
        return nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)


def test_rotation_and_heads_are_held_against_the_file(gguf: Path, tmp_path: Path) -> None:
    header = read_header(gguf)
    base = header["qwen3.rope.freq_base"]
    heads, kv_heads = header["qwen3.attention.head_count"], header["qwen3.attention.head_count_kv"]
    assert isinstance(base, float)
    assert isinstance(heads, int)
    assert isinstance(kv_heads, int)
    right = Attention(base, heads=heads, kv_heads=kv_heads)
    shapes = {"tokens": {1: torch.export.Dim("n", min=2, max=64)}}
    result = export_with_gguf(right, TOKENS, gguf, tmp_path / "m.pte", dynamic_shapes=shapes)
    wanted = {"RoPE base", "RoPE pairs", "query heads", "key heads", "attention scale"}
    assert {fact for fact, how in result.checked.items() if how == "same"} >= wanted
    wrong = {
        "RoPE base": Attention(base * 2, heads=heads, kv_heads=kv_heads),
        "RoPE pairs": Attention(base, halves=False, heads=heads, kv_heads=kv_heads),
        "key heads": Attention(base, heads=heads, kv_heads=heads),
    }
    for fact, module in wrong.items():
        with pytest.raises(MismatchError, match=fact):
            export_with_gguf(module, TOKENS, gguf, tmp_path / "no.pte", dynamic_shapes=shapes)


def test_another_model_is_refused_when_it_is_loaded(gguf: Path, tmp_path: Path) -> None:
    export_with_gguf(Embedding(eps=eps_of(gguf)), TOKENS, gguf, tmp_path / "m.pte", own=["gain"])
    other = write_gguf(tmp_path / "other.gguf", arch="qwen3", tied=True, eps=1e-3)[0]
    with pytest.raises(BindError, match="layer_norm_rms_epsilon"):
        Program(tmp_path / "m.pte", other, methods=["forward"])
