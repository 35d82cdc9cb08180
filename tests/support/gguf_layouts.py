"""The metadata and the tensors of a model of some size: the metadata from its `Shape`, the tensors from its family.

A layout is a pure description, nothing is drawn or quantised here. The tensors are the parameters that the family in
`executorch_ggml/llm/decoder/families` declares for this metadata; `hf_reference` and `test_families` hold their names
and shapes to those of others. Shapes are in torch order (`[out_features, in_features]`), the reverse of the file's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

# GGUF value types, as numbered in the file format.
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9


@dataclass(frozen=True)
class Kv:
    """One metadata entry. `type` is a GGUF value type; for ARRAY, `element` is the type of the elements."""

    key: str
    type: int
    value: object
    element: int = -1


@dataclass(frozen=True)
class TensorSpec:
    """One tensor. `kind`: matrix | embedding | norm | bias | factors. `values` is set for tensors that are not random.

    `parts` names the tensors a fused tensor is made of (name, rows), so that fused and unfused files of one seed hold
    the same numbers.
    """

    name: str
    shape: tuple[int, ...]
    kind: str = "matrix"
    parts: tuple[tuple[str, int], ...] = ()
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Shape:
    """Size and variant of a model; every field may be overridden when a file is written.

    extra: metadata of the architecture that no other field stands for, without its prefix.
    absent: keys of `_metadata` that the converter does not write for this architecture.
    """

    architecture: str = ""
    layers: int = 2
    embd: int = 256
    ff: int = 512
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    tokens: int = 512  # rows of the embedding
    context: int = 1024
    theta: float = 10000.0
    eps: float = 1e-6
    tied: bool = True
    biases: bool = False
    fuse_qkv: bool = False
    fuse_gate: bool = False
    window: int = 0
    theta_swa: float = 0.0  # 0: the key is not written
    experts: int = 0
    experts_used: int = 0
    expert_ff: int = 0
    rope: str = "none"  # none | linear | yarn | llama3 | longrope
    rope_factor: float = 1.0
    rope_original: int = 0
    rot_dim: int = 0  # 0: the whole head
    softcap: float = 0.0
    extra: Mapping[str, object] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    label: str = "tiny"


@dataclass(frozen=True)
class Layout:
    architecture: str
    metadata: list[Kv] = field(default_factory=list)
    tensors: list[TensorSpec] = field(default_factory=list)


def llama3_factors(shape: Shape) -> tuple[float, ...]:
    """`rope_freqs.weight` of Llama 3.1 and later: how much each frequency is divided (low_freq 1, high_freq 4)."""
    dim = shape.rot_dim or shape.head_dim
    factors = []
    low, high = 1.0, 4.0
    for i in range(0, dim, 2):
        wavelength = 2 * math.pi * shape.theta ** (i / dim)
        if wavelength < shape.rope_original / high:
            factors.append(1.0)
        elif wavelength > shape.rope_original / low:
            factors.append(shape.rope_factor)
        else:
            smooth = (shape.rope_original / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / shape.rope_factor + smooth))
    return tuple(factors)


def longrope_factors(shape: Shape) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(long, short) factors of the shape the Phi-3 128k checkpoints have: short near 1, long growing to the ratio."""
    half = (shape.rot_dim or shape.head_dim) // 2
    short = tuple(1.0 + 0.25 * i / half for i in range(half))
    long = tuple(1.0 + (shape.rope_factor - 1.0) * i / half for i in range(half))
    return long, short


HEAD_DIM = ("attention.key_length", "attention.value_length")


def _metadata(s: Shape) -> dict[str, object]:
    """The keys of the converter, without the prefix of the architecture."""
    keys: dict[str, object] = {
        "block_count": s.layers,
        "context_length": s.context,
        "embedding_length": s.embd,
        "feed_forward_length": s.ff,
        "attention.head_count": s.heads,
        "attention.head_count_kv": s.kv_heads,
    }
    if s.rope in ("linear", "yarn"):
        keys |= {"rope.scaling.type": s.rope, "rope.scaling.factor": s.rope_factor}
    if s.rope == "yarn":
        keys["rope.scaling.original_context_length"] = s.rope_original
    if s.rope == "longrope":
        scale = s.context / s.rope_original
        keys["rope.scaling.original_context_length"] = s.rope_original
        keys["rope.scaling.attn_factor"] = (
            math.sqrt(1 + math.log(scale) / math.log(s.rope_original)) if scale > 1 else 1.0
        )
    keys |= {
        "rope.freq_base": s.theta,
        "rope.freq_base_swa": s.theta_swa or None,
        "rope.dimension_count": s.rot_dim or s.head_dim,
        "attention.layer_norm_rms_epsilon": s.eps,
        "attention.sliding_window": s.window or None,
        "final_logit_softcapping": s.softcap or None,
        "expert_count": s.experts or None,
        "expert_used_count": s.experts_used or None,
        "expert_feed_forward_length": s.expert_ff or None,
        **dict.fromkeys(HEAD_DIM, s.head_dim),
    }
    keys |= s.extra
    return {key: value for key, value in keys.items() if value is not None and key not in s.absent}


def _kv(key: str, value: object) -> Kv:
    """An entry with the type that its value has in Python."""
    types = {bool: BOOL, int: U32, float: F32, str: STRING}
    if isinstance(value, (list, tuple)):
        return Kv(key, ARRAY, list(value), types[type(value[0])])
    return Kv(key, types[type(value)], value)


def _factors(s: Shape) -> list[TensorSpec]:
    """Tensors of frequency divisors."""
    if s.rope == "llama3":
        tables = {"rope_freqs": llama3_factors(s)}
    elif s.rope == "longrope":
        tables = dict(zip(("rope_factors_long", "rope_factors_short"), longrope_factors(s), strict=True))
    else:
        tables = {}
    return [TensorSpec(f"{name}.weight", (len(row),), "factors", values=row) for name, row in tables.items()]


class _Wanted:
    """Answers the question of a block whether the file has a tensor, for a file that is yet to be written."""

    def __init__(self, s: Shape) -> None:
        self.s = s

    def __contains__(self, name: object) -> bool:
        stem, kind = str(name).rsplit(".", 1)
        part = stem.rsplit(".", 1)[-1]
        if kind == "bias":
            return self.s.biases and part in ("attn_q", "attn_k", "attn_v", "attn_qkv")
        return {"attn_qkv": self.s.fuse_qkv, "ffn_gate": not self.s.fuse_gate}.get(part, True)


def _parts(s: Shape, name: str) -> tuple[tuple[str, int], ...]:
    q, k = s.heads * s.head_dim, s.kv_heads * s.head_dim
    for fused, rows in (("attn_qkv.", {"q": q, "k": k, "v": k}), ("ffn_up.", {"gate": s.ff, "up": s.ff})):
        if fused in name and (fused != "ffn_up." or s.fuse_gate):
            stem = fused.split("_")[0]
            return tuple((name.replace(fused, f"{stem}_{part}."), count) for part, count in rows.items())
    return ()


def layout_of(s: Shape) -> Layout:
    """The description of the file with a model of this size."""
    import torch

    from executorch_ggml.llm.decoder import ARCHITECTURES, GgufHeader, TensorInfo, load_config
    from executorch_ggml.llm.decoder.decoder import Decoder
    from executorch_ggml.llm.decoder.layers import Norm

    arch, factors = s.architecture, _factors(s)
    metadata = [_kv(f"{arch}.{key}", value) for key, value in _metadata(s).items()]
    known = [TensorSpec("token_embd.weight", (s.tokens, s.embd), "embedding"), *factors]
    header = GgufHeader(
        ["layout"],
        {kv.key: kv.value for kv in metadata} | {"general.architecture": arch},
        {spec.name: TensorInfo(spec.name, spec.shape, 0) for spec in known},
    )
    with torch.device("meta"):
        # One position: no key may forbid that.
        model = Decoder(ARCHITECTURES[arch], load_config(header, 1), _Wanted(s))
    tensors = list(factors)
    for name, parameter in model.named_parameters():
        owner, kind = name.rsplit(".", 1)
        if name.startswith("rope_") or (s.tied and name == "output.weight"):
            continue
        if kind == "bias":
            kind = "bias"
        elif owner in ("token_embd", "output"):
            kind = "embedding"
        else:
            kind = "norm" if isinstance(model.get_submodule(owner), Norm) else "matrix"
        tensors.append(TensorSpec(name, tuple(parameter.shape), kind, _parts(s, name)))
    return Layout(arch, metadata, tensors)
