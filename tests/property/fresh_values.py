"""Values at the edges of what a dtype holds, and layouts in memory, for the fresh tensors of random chains."""

from __future__ import annotations

from collections.abc import Sequence

import torch

INF, NAN = float("inf"), float("nan")
SPECIALS = {
    "infinite": (INF, -INF),
    "nan": (NAN,),
    "huge": (1e30, -1e30, 3e38, -3e38),
    "tiny": (1e-42, -1e-40, 1e-38, 0.0, -0.0),
    "limits": (INF, -INF, NAN, 3e38, -0.0, 1e-42, 88.9, -104.5),
}
SMALL = (torch.int8, torch.uint8, torch.int16)


def values_of(kind: str, shape: Sequence[int], dtype: torch.dtype, high: int, seed: int) -> torch.Tensor:
    """Kinds: those of SPECIALS; "wrap", "divisor" for integers; "index", "signed", "distinct:D" for indices below
    ``high``; "hidden" for masks of attention, "lowest" for such with a number instead of -inf."""
    generator = torch.Generator().manual_seed(seed)

    def integers(low: int, end: int) -> torch.Tensor:
        return torch.randint(low, end, list(shape), generator=generator)

    def one_in(count: int) -> torch.Tensor:
        return integers(0, count) == 0

    if kind in SPECIALS:
        special = torch.tensor(SPECIALS[kind])[integers(0, len(SPECIALS[kind]))]
        return torch.where(one_in(3 + seed % 5), special, integers(-200, 201) / 64)
    if kind == "wrap":
        limits = torch.iinfo(dtype)
        small, any_of = integers(-9, 10), integers(limits.min // 2, limits.max // 2 + 1) * 2 + integers(0, 2)
        ends = torch.tensor([limits.min, limits.min + 1, limits.max - 1, limits.max, -1, 0])[integers(0, 6)]
        return torch.where(one_in(3), small, torch.where(one_in(2), any_of, ends)).to(dtype)
    if kind == "divisor":
        # The smallest number over -1 ends the process in torch where the quotient has no bits left for it.
        sign = torch.where(one_in(2) if dtype is not torch.uint8 else one_in(1) & False, -1, 1)
        return (integers(1 if dtype in SMALL else 2, 12) * sign).to(dtype)
    if kind.startswith("distinct:"):
        dim = int(kind.split(":")[1])
        ranks = list(shape)
        ranks[dim] = high
        return torch.rand(ranks, generator=generator).argsort(dim).narrow(dim, 0, shape[dim]).contiguous().to(dtype)
    if kind in ("index", "signed"):
        found = integers(-high if kind == "signed" else 0, high)
        flat = found.view(-1)
        flat[0], flat[-1] = high - 1, -high if kind == "signed" else high - 1
        return found.to(dtype)
    assert kind in ("hidden", "lowest"), kind
    shown = integers(0, 3) > 0
    if shape:
        shown &= torch.randint(0, 3, [*shape[:-1], 1], generator=generator) > 0  # a third of the rows wholly hidden
    if dtype is torch.bool:
        return shown
    least = -INF if kind == "hidden" else torch.finfo(dtype).min
    return torch.where(shown, integers(-64, 65) / 64, least).to(dtype)


def layouts_of(rank: int) -> list[str]:
    return ["", "", "spread", "offset"] + ["permuted"] * (rank > 1) + ["channels_last"] * 3 * (rank in (4, 5))


def laid_out(values: torch.Tensor, layout: str, seed: int) -> torch.Tensor:
    """The same values, otherwise in memory."""
    if layout == "channels_last" and values.dim() in (4, 5):
        return values.contiguous(memory_format=torch.channels_last if values.dim() == 4 else torch.channels_last_3d)
    if layout == "permuted" and values.dim() > 1:
        order = torch.randperm(values.dim(), generator=torch.Generator().manual_seed(seed)).tolist()
        back = [order.index(i) for i in range(values.dim())]
        return values.permute(order).contiguous().permute(back)
    if layout == "spread" and values.dim():
        return values.repeat_interleave(2, -1)[..., ::2]
    if layout == "offset":
        return torch.cat([values.new_zeros(3), values.reshape(-1)])[3:].view(values.shape)
    return values
