"""What `convert_hf_to_gguf.py` writes for each architecture: metadata keys, tensor names, shapes and their order.

A layout is a pure description, nothing is drawn or quantised here. Tensors are listed in the order of the Hugging Face
checkpoint (output head first, then the embedding, then the layers with their tensors in alphabetical order of the
checkpoint's names, then the final norm), which is the order the converter keeps. Shapes are in torch order
(`[out_features, in_features]`), the reverse of the order in the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable
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
    """Size and variant of a model; every field may be overridden when a file is written."""

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


def _common(arch: str, s: Shape, *, head_dim_keys: bool) -> list[Kv]:
    """The keys of the converter's base class, in its order."""
    kv = [
        Kv(f"{arch}.block_count", U32, s.layers),
        Kv(f"{arch}.context_length", U32, s.context),
        Kv(f"{arch}.embedding_length", U32, s.embd),
        Kv(f"{arch}.feed_forward_length", U32, s.ff),
        Kv(f"{arch}.attention.head_count", U32, s.heads),
        Kv(f"{arch}.attention.head_count_kv", U32, s.kv_heads),
    ]
    if s.rope == "linear":
        kv += [Kv(f"{arch}.rope.scaling.type", STRING, "linear"), Kv(f"{arch}.rope.scaling.factor", F32, s.rope_factor)]
    elif s.rope == "yarn":
        kv += [
            Kv(f"{arch}.rope.scaling.type", STRING, "yarn"),
            Kv(f"{arch}.rope.scaling.factor", F32, s.rope_factor),
            Kv(f"{arch}.rope.scaling.original_context_length", U32, s.rope_original),
        ]
    kv.append(Kv(f"{arch}.rope.freq_base", F32, s.theta))
    if s.theta_swa:
        kv.append(Kv(f"{arch}.rope.freq_base_swa", F32, s.theta_swa))
    kv.append(Kv(f"{arch}.attention.layer_norm_rms_epsilon", F32, s.eps))
    if s.experts:
        kv += [
            Kv(f"{arch}.expert_count", U32, s.experts),
            Kv(f"{arch}.expert_used_count", U32, s.experts_used),
        ]
    if head_dim_keys:
        kv += [
            Kv(f"{arch}.attention.key_length", U32, s.head_dim),
            Kv(f"{arch}.attention.value_length", U32, s.head_dim),
        ]
    return kv


def _qkv(s: Shape, p: str, *, k_norm: bool) -> list[TensorSpec]:
    """Attention projections, alphabetical as k_norm, k_proj, o_proj, q_norm, q_proj, v_proj (bias before weight)."""
    q, k = s.heads * s.head_dim, s.kv_heads * s.head_dim
    out = TensorSpec(f"{p}attn_output.weight", (s.embd, q))
    norms = [TensorSpec(f"{p}attn_{n}_norm.weight", (s.head_dim,), "norm") for n in "kq"] if k_norm else []

    def projection(name: str, rows: int) -> list[TensorSpec]:
        weight = TensorSpec(f"{p}attn_{name}.weight", (rows, s.embd))
        return [TensorSpec(f"{p}attn_{name}.bias", (rows,), "bias"), weight] if s.biases else [weight]

    if s.fuse_qkv:
        parts = tuple((f"{p}attn_{n}.weight", rows) for n, rows in (("q", q), ("k", k), ("v", k)))
        fused = [TensorSpec(f"{p}attn_qkv.weight", (q + 2 * k, s.embd), parts=parts)]
        if s.biases:
            bias_parts = tuple((name.replace(".weight", ".bias"), rows) for name, rows in parts)
            fused.insert(0, TensorSpec(f"{p}attn_qkv.bias", (q + 2 * k,), "bias", bias_parts))
        return [*norms[:1], out, *norms[1:], *fused]
    return [*norms[:1], *projection("k", k), out, *norms[1:], *projection("q", q), *projection("v", k)]


def _dense_ffn(s: Shape, p: str) -> list[TensorSpec]:
    return [
        TensorSpec(f"{p}ffn_down.weight", (s.embd, s.ff)),
        TensorSpec(f"{p}ffn_gate.weight", (s.ff, s.embd)),
        TensorSpec(f"{p}ffn_up.weight", (s.ff, s.embd)),
    ]


def _experts(s: Shape, p: str) -> list[TensorSpec]:
    ff = s.expert_ff or s.ff
    return [
        TensorSpec(f"{p}ffn_down_exps.weight", (s.experts, s.embd, ff)),
        TensorSpec(f"{p}ffn_gate_exps.weight", (s.experts, ff, s.embd)),
        TensorSpec(f"{p}ffn_up_exps.weight", (s.experts, ff, s.embd)),
        TensorSpec(f"{p}ffn_gate_inp.weight", (s.experts, s.embd)),
    ]


def _norm(s: Shape, name: str) -> TensorSpec:
    return TensorSpec(name, (s.embd,), "norm")


def _model(s: Shape, layer: Callable[[str], list[TensorSpec]], extra: list[TensorSpec]) -> list[TensorSpec]:
    head = [] if s.tied else [TensorSpec("output.weight", (s.tokens, s.embd), "embedding")]
    tensors = [*extra, *head, TensorSpec("token_embd.weight", (s.tokens, s.embd), "embedding")]
    for i in range(s.layers):
        tensors += layer(f"blk.{i}.")
    return [*tensors, _norm(s, "output_norm.weight")]


def _llama_like(arch: str, s: Shape, *, head_dim_keys: bool, k_norm: bool, llama_keys: bool) -> Layout:
    kv = _common(arch, s, head_dim_keys=head_dim_keys)
    if arch == "qwen3moe":
        kv.append(Kv(f"{arch}.expert_feed_forward_length", U32, s.expert_ff))
    if llama_keys:
        kv += [Kv(f"{arch}.vocab_size", U32, s.tokens), Kv(f"{arch}.rope.dimension_count", U32, s.head_dim)]
    extra = []
    if s.rope == "llama3":
        factors = llama3_factors(s)
        extra.append(TensorSpec("rope_freqs.weight", (len(factors),), "factors", values=factors))

    def layer(p: str) -> list[TensorSpec]:
        ffn = _experts(s, p) if s.experts else _dense_ffn(s, p)
        norms = [_norm(s, f"{p}attn_norm.weight"), _norm(s, f"{p}ffn_norm.weight")]
        return [norms[0], *ffn, norms[1], *_qkv(s, p, k_norm=k_norm)]

    return Layout(arch, kv, _model(s, layer, extra))


def _qwen2(s: Shape) -> Layout:
    return _llama_like("qwen2", s, head_dim_keys=False, k_norm=False, llama_keys=False)


def _qwen3(s: Shape) -> Layout:
    return _llama_like("qwen3", s, head_dim_keys=True, k_norm=True, llama_keys=False)


def _qwen3moe(s: Shape) -> Layout:
    return _llama_like("qwen3moe", s, head_dim_keys=True, k_norm=True, llama_keys=False)


def _llama(s: Shape) -> Layout:
    return _llama_like("llama", s, head_dim_keys=True, k_norm=False, llama_keys=True)


def _mistral3(s: Shape) -> Layout:
    """Ministral 3: Llama with YaRN (whose magnitude its multiplier cancels) and attention that sharpens far away."""
    layout = _llama_like("mistral3", s, head_dim_keys=True, k_norm=False, llama_keys=True)
    extra = [
        Kv("mistral3.rope.scaling.yarn_beta_fast", F32, 32.0),
        Kv("mistral3.rope.scaling.yarn_beta_slow", F32, 1.0),
        Kv("mistral3.rope.scaling.yarn_log_multiplier", F32, 1.0),
        Kv("mistral3.attention.temperature_scale", F32, 0.1),
    ]
    return Layout(layout.architecture, layout.metadata + extra, layout.tensors)


def _smollm3(s: Shape) -> Layout:
    return _llama_like("smollm3", s, head_dim_keys=False, k_norm=False, llama_keys=True)


def _gemma3(s: Shape) -> Layout:
    arch = "gemma3"
    kv = _common(arch, s, head_dim_keys=True)
    if s.softcap:
        kv.append(Kv(f"{arch}.final_logit_softcapping", F32, s.softcap))
    if s.window:
        kv.append(Kv(f"{arch}.attention.sliding_window", U32, s.window))

    def layer(p: str) -> list[TensorSpec]:
        return [
            _norm(s, f"{p}attn_norm.weight"),
            *_dense_ffn(s, p),
            _norm(s, f"{p}post_attention_norm.weight"),
            _norm(s, f"{p}post_ffw_norm.weight"),
            _norm(s, f"{p}ffn_norm.weight"),
            *_qkv(s, p, k_norm=True),
        ]

    return Layout(arch, kv, _model(s, layer, []))


def _phi3(s: Shape) -> Layout:
    """Phi-3 has a converter of its own: its own key order, fused projections, sliding_window even when it is 0."""
    arch = "phi3"
    rot = s.rot_dim or s.head_dim
    kv = [
        Kv(f"{arch}.context_length", U32, s.context),
        Kv(f"{arch}.rope.scaling.original_context_length", U32, s.rope_original or s.context),
        Kv(f"{arch}.embedding_length", U32, s.embd),
        Kv(f"{arch}.feed_forward_length", U32, s.ff),
        Kv(f"{arch}.block_count", U32, s.layers),
        Kv(f"{arch}.attention.head_count", U32, s.heads),
        Kv(f"{arch}.attention.head_count_kv", U32, s.kv_heads),
        Kv(f"{arch}.attention.layer_norm_rms_epsilon", F32, s.eps),
        Kv(f"{arch}.rope.dimension_count", U32, rot),
        Kv(f"{arch}.rope.freq_base", F32, s.theta),
        Kv(f"{arch}.attention.sliding_window", U32, s.window),
    ]
    extra = []
    if s.rope == "longrope":
        scale = s.context / s.rope_original
        attn = math.sqrt(1 + math.log(scale) / math.log(s.rope_original)) if scale > 1 else 1.0
        kv.append(Kv(f"{arch}.rope.scaling.attn_factor", F32, attn))
        long, short = longrope_factors(s)
        extra = [
            TensorSpec("rope_factors_long.weight", (rot // 2,), "factors", values=long),
            TensorSpec("rope_factors_short.weight", (rot // 2,), "factors", values=short),
        ]
    q, k = s.heads * s.head_dim, s.kv_heads * s.head_dim

    def layer(p: str) -> list[TensorSpec]:
        gate_up = ((f"{p}ffn_gate.weight", s.ff), (f"{p}ffn_up.weight", s.ff))
        qkv = tuple((f"{p}attn_{n}.weight", rows) for n, rows in (("q", q), ("k", k), ("v", k)))
        return [
            _norm(s, f"{p}attn_norm.weight"),
            TensorSpec(f"{p}ffn_down.weight", (s.embd, s.ff)),
            TensorSpec(f"{p}ffn_up.weight", (2 * s.ff, s.embd), parts=gate_up),
            _norm(s, f"{p}ffn_norm.weight"),
            TensorSpec(f"{p}attn_output.weight", (s.embd, q)),
            TensorSpec(f"{p}attn_qkv.weight", (q + 2 * k, s.embd), parts=qkv),
        ]

    return Layout(arch, kv, _model(s, layer, extra))


LAYOUTS: dict[str, Callable[[Shape], Layout]] = {
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "qwen3moe": _qwen3moe,
    "llama": _llama,
    "mistral": _llama,  # the converter files Mistral under "llama", without a sliding window
    "mistral3": _mistral3,
    "gemma3": _gemma3,
    "phi3": _phi3,
    "smollm3": _smollm3,
}
