"""The parameters of a decoder: the numbers of a GGUF's metadata, checked, in one dataclass."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass

from executorch_ggml.errors import FormatError, InvalidArgumentError, UnsupportedError
from executorch_ggml.gguf.header import GgufHeader, Value

from .architectures import ARCHITECTURES, Architecture
from .metadata import MAX_FLOAT, Metadata

__all__ = ["ModelConfig", "RopeConfig", "load_config"]

# Keys that change the arithmetic in ways no table entry here knows, with the value that changes nothing.
_UNSUPPORTED: dict[str, Value | None] = {
    "attention.causal": True,
    "attention.clamp_kqv": 0.0,
    "attention.max_alibi_bias": 0.0,
    "attention.key_length_swa": None,
    "attention.value_length_swa": None,
    "attention.output_scale": 1.0,
    "attention.shared_kv_layers": 0,
    "attn_logit_softcapping": 0.0,
    "embedding_scale": 1.0,
    "residual_scale": 1.0,
    "logit_scale": 1.0,
    "expert_shared_count": 0,
    "expert_group_count": 0,
    "expert_weights_scale": 1.0,
    "expert_weights_norm": True,
    "expert_gating_func": 1,
    "expert_shared_feed_forward_length": 0,
    "leading_dense_block_count": 0,
    "nextn_predict_layers": 0,
    "rope.dimension_count_swa": None,
    "rope.dimension_sections": None,
    "rope.scaling.alpha": 0.0,
    "use_parallel_residual": False,
}


@dataclass(frozen=True)
class RopeConfig:
    """Arguments of the rope operator, with ggml's meaning. factors: name of the tensor of frequency divisors."""

    mode: int
    dims: int
    base: float
    scale: float = 1.0
    ext_factor: float = 0.0
    attn_factor: float = 1.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    original_context: int = 0
    factors: str | None = None


@dataclass(frozen=True)
class ModelConfig:
    """One decoder, sizes in elements. Per-layer tuples have `layers` entries.

    window: sliding window of each layer in keys, 0 for none. rope: of each layer, None for a layer without rotation.
    context: the length that the model was trained for; max_seq_len: that of this graph.
    metadata: every metadata value the graph depends on.
    """

    architecture: Architecture
    name: str
    layers: int
    vocab: int
    width: int
    ff: int
    heads: int
    kv_heads: int
    head_dim: int
    eps: float
    attention_scale: float
    embedding_scale: float
    logit_softcap: float
    window: tuple[int, ...]
    rope: tuple[RopeConfig | None, ...]
    experts: int
    experts_used: int
    expert_ff: int
    context: int
    max_seq_len: int
    bos: int | None
    eos: tuple[int, ...]
    metadata: dict[str, Value]


def _architecture(meta: Metadata) -> Architecture:
    name = meta.architecture
    if name not in ARCHITECTURES:
        near = difflib.get_close_matches(name, ARCHITECTURES, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise UnsupportedError(
            f"{meta.header.path}: architecture {name!r} is not supported{hint}; supported: {', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[name]


def _rope_factors(meta: Metadata, max_seq_len: int, original: int) -> str | None:
    """The tensor of frequency divisors: one for every context, or the long or short one of LongRoPE."""
    if "rope_freqs.weight" in meta.header.tensors:
        return "rope_freqs.weight"
    name = "rope_factors_long.weight" if max_seq_len > original else "rope_factors_short.weight"
    return name if name in meta.header.tensors else None


def _rope(meta: Metadata, arch: Architecture, head_dim: int, max_seq_len: int, context: int) -> RopeConfig:
    """Rotation of the ordinary layers: plain, linearly scaled, YaRN, or divided by a tensor of factors.

    YaRN's magnitude is 0.1 ln(factor) + 1 (arXiv 2309.00071, eq. 22). The operator applies that itself when ext_factor
    is not 0, so attn_factor holds only the factor on top of it.
    """
    kind = meta.string("rope.scaling.type", "linear")
    factor = meta.number("rope.scaling.factor", 1.0, positive=False)
    factor = factor if factor > 0 and kind != "none" else 1.0
    original = meta.integer("rope.scaling.original_context_length", context)
    dims = meta.integer("rope.dimension_count", head_dim, minimum=2, maximum=head_dim)
    if dims % 2:
        raise FormatError(f"{meta.header.path}: {arch.name}.rope.dimension_count is {dims}, which is odd")
    if kind not in ("none", "linear", "yarn", "longrope"):
        raise UnsupportedError(f"{meta.header.path}: {arch.name}.rope.scaling.type {kind!r} is not supported")
    attn = meta.number("rope.scaling.attn_factor", 1.0)
    ext = 0.0
    if kind == "yarn":
        ext = meta.number("rope.scaling.yarn_ext_factor", 1.0, positive=False)
        if ext < 0:
            ext = 1.0  # negative stands for "not set"
        built_in = 1.0 + 0.1 * math.log(factor) if ext else 1.0
        wanted = meta.number("rope.scaling.yarn_attn_factor", built_in)
        log_mul = meta.number("rope.scaling.yarn_log_multiplier", 0.0, positive=False)
        if log_mul and factor > 1:
            wanted = built_in / (1.0 + 0.1 * log_mul * math.log(factor))
        attn *= wanted / built_in
    return RopeConfig(
        mode=arch.rope_mode,
        dims=dims,
        base=meta.number("rope.freq_base", 10000.0),
        scale=1.0 / factor,
        ext_factor=ext,
        attn_factor=attn,
        beta_fast=meta.number("rope.scaling.yarn_beta_fast", 32.0) if ext else 32.0,
        beta_slow=meta.number("rope.scaling.yarn_beta_slow", 1.0) if ext else 1.0,
        original_context=original,
        factors=_rope_factors(meta, max_seq_len, original),
    )


def _windows(meta: Metadata, arch: Architecture, layers: int) -> tuple[int, ...]:
    """The sliding window of each layer; with a period p, every p-th layer sees everything."""
    if arch.sliding == "none":
        return (0,) * layers
    window = meta.integer("attention.sliding_window", 0, minimum=0)
    if window == 0 or arch.sliding == "all":
        return (window,) * layers
    pattern = meta.flags("attention.sliding_window_pattern", layers)
    if not isinstance(pattern, tuple):
        period = arch.sliding_period if pattern is None else pattern
        pattern = tuple(period > 0 and i % period < period - 1 for i in range(layers))
    return tuple(window if local else 0 for local in pattern)


def _expert_ff(meta: Metadata, arch: Architecture, ff: int, used: int) -> int:
    """Width of one expert. Where it is not given, feed_forward_length is that of one (Mixtral) or of all used."""
    shared = arch.experts == "always"
    return meta.integer("expert_feed_forward_length", (ff // used if shared else ff) or None)


def _vocab(header: GgufHeader) -> int:
    """Rows of the embedding; the tokenizer must have as many tokens, or ids would mean something else."""
    info = header.tensors.get("token_embd.weight")
    if info is None or len(info.shape) != 2:
        found = "is missing" if info is None else f"has shape {info.shape}"
        raise FormatError(f"{header.path}: tensor 'token_embd.weight' {found}; is this a language model's GGUF?")
    tokens = header.length("tokenizer.ggml.tokens") if "tokenizer.ggml.tokens" in header else info.shape[0]
    if tokens != info.shape[0]:
        raise FormatError(
            f"{header.path}: tokenizer.ggml.tokens has {tokens} tokens, but token_embd.weight has {info.shape[0]} rows"
        )
    return info.shape[0]


def load_config(header: GgufHeader, max_seq_len: int) -> ModelConfig:
    """Reads and checks everything the decoder needs.

    max_seq_len: positions the KV cache holds, at least 1.
    Raises UnsupportedError (architecture, or a feature of it), FormatError (a key missing or impossible, named),
    InvalidArgumentError (max_seq_len).
    """
    if max_seq_len < 1:
        raise InvalidArgumentError(f"max_seq_len must be at least 1, got {max_seq_len}")
    meta = Metadata(header)
    arch = _architecture(meta)
    meta.refuse(_UNSUPPORTED)
    layers = meta.integer("block_count", maximum=1 << 14)
    width = meta.integer("embedding_length")
    heads = meta.integer("attention.head_count")
    kv_heads = meta.integer("attention.head_count_kv", heads)
    head_dim = meta.integer("attention.key_length", width // heads)
    value_dim = meta.integer("attention.value_length", head_dim)
    if heads % kv_heads:
        raise FormatError(f"{header.path}: {heads} query heads cannot share {kv_heads} key heads")
    if value_dim != head_dim:
        raise UnsupportedError(f"{header.path}: keys of {head_dim} and values of {value_dim} elements a head")
    peeked = meta.peek("context_length")
    context = peeked if isinstance(peeked, int) and peeked > 0 else max_seq_len
    experts = meta.integer("expert_count", 0, minimum=0) if arch.experts != "never" else 0
    if arch.experts == "always" and experts == 0:
        raise FormatError(f"{header.path}: {arch.name}.expert_count must be above 0")
    ff = meta.integer("feed_forward_length", 0 if experts else None, minimum=0 if experts else 1)
    used = meta.integer("expert_used_count", maximum=experts) if experts else 0
    _check_temperature(meta, max_seq_len)

    rope = _rope(meta, arch, head_dim, max_seq_len, context)
    window = _windows(meta, arch, layers)
    local = RopeConfig(arch.rope_mode, rope.dims, arch.local_rope_base)
    if arch.local_rope_base and any(window):
        local = RopeConfig(arch.rope_mode, rope.dims, meta.number("rope.freq_base_swa", arch.local_rope_base))
    step = arch.no_rope_step
    ropes = tuple(
        None if step and (i + 1) % step == 0 else local if arch.local_rope_base and window[i] else rope
        for i in range(layers)
    )
    scale_dim = width // heads if layers in arch.scale_by_width_at_layers else head_dim
    name = header.get("general.name", arch.name)
    vocab = _vocab(header)
    bos = meta.ids("bos_token_id", limit=vocab)
    config = ModelConfig(
        architecture=arch,
        name=str(name),
        layers=layers,
        vocab=vocab,
        width=width,
        ff=ff,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        eps=meta.number("attention.layer_norm_rms_epsilon"),
        attention_scale=meta.number("attention.scale", scale_dim**-0.5),
        embedding_scale=math.sqrt(width) if arch.scaled_embedding else 1.0,
        logit_softcap=meta.number("final_logit_softcapping", 0.0, positive=False) if arch.logit_softcap else 0.0,
        window=window,
        rope=ropes,
        experts=experts,
        experts_used=used,
        expert_ff=_expert_ff(meta, arch, ff, used) if experts else 0,
        context=context,
        max_seq_len=max_seq_len,
        bos=bos[0] if bos else None,
        eos=tuple(meta.ids("eos_token_id", "eot_token_id", "eom_token_id", limit=vocab)),
        metadata=dict(meta.used),
    )
    _check_floats(header, config)
    return config


def _check_floats(header: GgufHeader, config: ModelConfig) -> None:
    """A number computed from several values must fit float32 as each of them does."""
    for part in (config, *{rope for rope in config.rope if rope is not None}):
        for name, value in vars(part).items():
            if isinstance(value, float) and not abs(value) <= MAX_FLOAT:
                raise FormatError(f"{header.path}: the metadata make {name} {value}, which float32 cannot hold")


def _check_temperature(meta: Metadata, max_seq_len: int) -> None:
    """Temperature scaling multiplies a query at position p by 1 + s ln(1 + floor(p / original)): 1 below `original`."""
    if meta.number("attention.temperature_scale", 0.0, positive=False) == 0.0:
        return
    original = meta.integer("rope.scaling.original_context_length")
    if max_seq_len > original:
        raise UnsupportedError(
            f"{meta.header.path}: {meta.architecture}.attention.temperature_scale changes attention beyond position "
            f"{original}; export with max_seq_len <= {original} (got {max_seq_len})"
        )
