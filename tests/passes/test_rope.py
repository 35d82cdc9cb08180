"""Rotary embeddings in every spelling; parameters read from the graph; what only looks like one."""

from __future__ import annotations

import math

import pytest
import torch
from graph_checks import assert_same, assert_unchanged, count, functional

from executorch_ggml.aot.passes import fuse_rope

ROPE = "executorch_ggml.rope.default"


def frequencies(dim: int, theta: float) -> torch.Tensor:
    return 1.0 / (theta ** (torch.arange(0, dim, 2, dtype=torch.int64).float() / dim))


def rotate_half(x: torch.Tensor) -> torch.Tensor:
    return torch.cat((-x[..., x.shape[-1] // 2 :], x[..., : x.shape[-1] // 2]), dim=-1)


class RotateHalf(torch.nn.Module):
    """Hugging Face's form on [B, H, T, D]."""

    def __init__(self, dim=16, theta=10000.0, scaling=1.0, inv_freq=None, rotated=None) -> None:
        super().__init__()
        self.scaling, self.rotated = scaling, rotated or dim
        self.register_buffer("inv_freq", frequencies(self.rotated, theta) if inv_freq is None else inv_freq)

    def forward(self, x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        inv = self.inv_freq[None, :, None].float().expand(1, -1, 1)
        angles = (inv @ positions[None, None, :].float()).transpose(1, 2)
        emb = torch.cat((angles, angles), dim=-1)
        cos, sin = (emb.cos() * self.scaling).unsqueeze(1), (emb.sin() * self.scaling).unsqueeze(1)
        head, rest = x[..., : self.rotated], x[..., self.rotated :]
        return torch.cat((head * cos + rotate_half(head) * sin, rest), dim=-1)


def parameters(ep) -> dict[str, object]:
    node = next(n for n in ep.graph.nodes if str(n.target) == ROPE)
    names = ("x", "positions", "freq_factors", "n_dims", "mode", "freq_base", "freq_scale", "ext_factor", "attn_factor")
    return dict(zip(names, node.args, strict=False))


def dynamic():
    t = torch.export.Dim("t", min=1, max=99)
    return ({2: t}, {0: t})


def calls(*lengths: int, dim: int = 16, heads: int = 3):
    return [(torch.randn(1, heads, t, dim), torch.randperm(2000)[:t]) for t in lengths]


@pytest.mark.parametrize("theta", [10000.0, 500000.0, 1e6, 12345.0])
@pytest.mark.parametrize("dim", [16, 64, 128])
def test_rotate_half_reads_theta_and_head_dim(theta: float, dim: int) -> None:
    module = RotateHalf(dim, theta)
    ep = functional(module, calls(3, dim=dim)[0], dynamic())
    assert fuse_rope(ep)
    found = parameters(ep)
    assert found["n_dims"] == dim
    assert found["mode"] == 2
    assert found["freq_base"] == pytest.approx(theta, rel=1e-5)
    assert found["freq_factors"] is None
    assert count(ep)["aten.cos.default"] == 0
    # float32 angles at positions up to 2000 are themselves wrong by 1e-4.
    assert_same(ep, module, *calls(1, 7, 99, dim=dim), tolerance=2e-4)
    assert_same(ep, module, (torch.randn(1, 3, 8, dim), torch.arange(8)), tolerance=2e-6)


def test_magnitude_and_linear_scaling() -> None:
    module = RotateHalf(16, scaling=1.25, inv_freq=frequencies(16, 1e4) / 8.0)
    ep = functional(module, calls(3)[0], dynamic())
    assert fuse_rope(ep)
    found = parameters(ep)
    assert found["attn_factor"] == pytest.approx(1.25, rel=1e-6)
    assert found["freq_scale"] == pytest.approx(0.125, rel=1e-6)
    assert found["freq_factors"] is None
    assert_same(ep, module, (torch.randn(1, 3, 8, 16), torch.arange(8)), tolerance=2e-6)


def test_llama_3_frequencies_become_factors() -> None:
    plain = frequencies(32, 5e5)
    wave = 2 * math.pi / plain
    inv = torch.where(wave > 64.0, plain / 8.0, plain)
    module = RotateHalf(32, inv_freq=inv)
    ep = functional(module, calls(3, dim=32)[0], dynamic())
    assert fuse_rope(ep)
    found = parameters(ep)
    assert found["freq_base"] == pytest.approx(5e5, rel=1e-4)
    factors = ep.constants[ep.graph_signature.inputs_to_buffers[found["freq_factors"].name]]
    assert torch.allclose(plain / factors, inv, rtol=1e-5)
    assert_same(ep, module, (torch.randn(1, 3, 8, 32), torch.arange(8)), tolerance=2e-6)


def test_partial_rotation_is_one_operator() -> None:
    module = RotateHalf(16, rotated=8)
    ep = functional(module, calls(3)[0], dynamic())
    assert fuse_rope(ep)
    assert parameters(ep)["n_dims"] == 8
    assert count(ep)["aten.cat.default"] + count(ep)["aten.slice.Tensor"] == 0
    assert_same(ep, module, (torch.randn(1, 3, 8, 16), torch.arange(8)), tolerance=2e-6)


class Table(torch.nn.Module):
    """Tables of cos and sin, indexed by position; [B, T, H, D]."""

    def __init__(self, form: str, dim: int = 16, rows: int = 64, theta: float = 10000.0) -> None:
        super().__init__()
        self.form, self.dim = form, dim
        angles = torch.outer(torch.arange(rows).float(), frequencies(dim, theta))
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())
        self.register_buffer("polar", torch.polar(torch.ones_like(angles), angles))

    def forward(self, x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        half = self.dim // 2
        if self.form == "complex":
            table = self.polar[positions][None, :, None, :]
            pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], half, 2))
            return torch.view_as_real(pairs * table).flatten(3)
        cos, sin = self.cos[positions][None, :, None, :], self.sin[positions][None, :, None, :]
        if self.form == "strided":
            a, b = x[..., 0::2], x[..., 1::2]
            return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2)
        if self.form == "unbound":
            a, b = x.reshape(*x.shape[:-1], half, 2).unbind(-1)
            return torch.stack((a * cos - b * sin, b * cos + a * sin), dim=-1).flatten(3)
        if self.form == "halves":
            a, b = x.chunk(2, dim=-1)
            return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)
        assert self.form == "interleaved_rotate"
        cos, sin = cos.repeat_interleave(2, dim=-1), sin.repeat_interleave(2, dim=-1)
        rotated = torch.stack((-x[..., 1::2], x[..., 0::2]), dim=-1).flatten(-2)
        return x * cos + rotated * sin


@pytest.mark.parametrize("form", ["complex", "strided", "unbound", "halves", "interleaved_rotate"])
def test_other_spellings(form: str) -> None:
    module = Table(form)
    t = torch.export.Dim("t", min=1, max=63)
    args = (torch.randn(1, 5, 3, 16), torch.arange(5))
    ep = functional(module, args, ({1: t}, {0: t}))
    assert fuse_rope(ep)
    found = parameters(ep)
    assert found["mode"] == (2 if form == "halves" else 0)
    assert found["freq_base"] == pytest.approx(10000.0, rel=1e-4)
    assert count(ep)["aten.index.Tensor"] == 0
    assert_same(ep, module, *((torch.randn(1, n, 3, 16), torch.randperm(64)[:n]) for n in (1, 9, 63)), tolerance=5e-6)


def test_static_length_and_fixed_positions() -> None:
    class Fixed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("inv_freq", frequencies(16, 10000.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            angles = torch.outer(torch.arange(x.shape[1]).float(), self.inv_freq)
            emb = torch.cat((angles, angles), dim=-1)
            return x * emb.cos() + rotate_half(x) * emb.sin()

    module = Fixed()
    for dims in (None, ({1: torch.export.Dim("t", min=2, max=31)},)):
        ep = functional(module, (torch.randn(2, 7, 16),), dims)
        assert fuse_rope(ep), dims
        assert_same(ep, module, (torch.randn(2, 7, 16),), tolerance=2e-6)


def test_one_token() -> None:
    module = RotateHalf()
    ep = functional(module, (torch.randn(1, 3, 1, 16), torch.tensor([5])))
    assert fuse_rope(ep)
    assert_same(ep, module, *((torch.randn(1, 3, 1, 16), torch.tensor([p])) for p in (0, 5, 100)), tolerance=2e-5)


# ---------------------------------------------------------------------------------------- near misses


class Odd(torch.nn.Module):
    """RotateHalf with one thing wrong."""

    def __init__(self, wrong: str) -> None:
        super().__init__()
        self.wrong = wrong
        self.register_buffer("inv_freq", frequencies(16, 10000.0))
        self.register_buffer("noise", torch.randn(64, 16))

    def forward(self, x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        angles = positions[:, None].float() * self.inv_freq
        if self.wrong == "offset":
            angles = angles + 0.5
        if self.wrong == "squared":
            angles = angles * positions[:, None].float()
        emb = torch.cat((angles, angles), dim=-1)
        cos, sin = emb.cos(), emb.sin()
        if self.wrong == "sign":
            sin = -sin
        if self.wrong == "swapped":
            cos, sin = sin, cos
        if self.wrong == "magnitudes":
            cos = cos * 1.1
        if self.wrong == "noise":
            cos, sin = self.noise[positions], self.noise[positions]
        if self.wrong == "data":
            cos = cos * x.abs().mean()
        if self.wrong == "length":
            sin = torch.where(positions[:, None] > 4096, sin * 2.0, sin)
        rotated = rotate_half(x)
        if self.wrong == "rotation":
            rotated = torch.cat((x[..., 8:], -x[..., :8]), dim=-1)
        if self.wrong == "pairs":
            rotated = torch.stack((-x[..., 1::2], x[..., 0::2]), dim=-1).flatten(-2)
        if self.wrong == "halves":
            rotated = torch.cat((-x[..., 6:], x[..., :6]), dim=-1)
        return x * cos + rotated * sin


WRONG = ["offset", "squared", "sign", "swapped", "magnitudes", "noise", "data", "length", "rotation", "pairs", "halves"]


@pytest.mark.parametrize("wrong", WRONG)
def test_leaves_near_misses_alone(wrong: str) -> None:
    ep = functional(Odd(wrong), (torch.randn(1, 2, 5, 16), torch.arange(5)))
    assert_unchanged(ep, fuse_rope)


def test_a_table_that_depends_on_the_length_stays() -> None:
    class Stretched(RotateHalf):
        def forward(self, x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
            angles = positions[:, None].float() * self.inv_freq * (8.0 / x.shape[2])
            emb = torch.cat((angles, angles), dim=-1)
            return x * emb.cos() + rotate_half(x) * emb.sin()

    assert_unchanged(functional(Stretched(), calls(3)[0], dynamic()), fuse_rope)


def test_two_position_vectors_are_not_one() -> None:
    class Two(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("inv_freq", frequencies(16, 10000.0))

        def forward(self, x: torch.Tensor, p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
            a, b = (
                torch.cat((y, y), -1) for y in (p[:, None].float() * self.inv_freq, q[:, None].float() * self.inv_freq)
            )
            return x * a.cos() + rotate_half(x) * b.sin()

    args = (torch.randn(1, 2, 5, 16), torch.arange(5), torch.arange(5) + 1)
    assert_unchanged(functional(Two(), args), fuse_rope)


def test_a_mutated_frequency_buffer_is_not_a_constant() -> None:
    class Moving(RotateHalf):
        def forward(self, x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
            result = super().forward(x, positions)
            self.inv_freq.mul_(0.5)
            return result

    assert_unchanged(functional(Moving(), calls(3)[0]), fuse_rope)


def test_double_precision_stays_with_executorch() -> None:
    module = RotateHalf().double()
    x, positions = calls(3)[0]
    assert_unchanged(functional(module, (x.double(), positions)), fuse_rope)
