"""transformers' own model of each architecture with the weights of a GGUF: the independent reference.

Names of tensors come from the `gguf` package's map of transformers' names, so they check those that our families
declare. The rest undoes, from the documentation of the checkpoints, the changes of the converter: it stores Llama-like
q and k with the two halves of each head interleaved, and Gemma's norm weights plus one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
import transformers

from executorch_ggml.gguf.header import GgufHeader, read_header

Get = Callable[..., Any]
"""get(key without the architecture's prefix, default) -> a value of the metadata"""


def dequantized(header: GgufHeader) -> dict[str, torch.Tensor]:
    tensors = {}
    for path in header.paths:
        for t in gguf.GGUFReader(path).tensors:
            data = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
            tensors[t.name] = torch.from_numpy(data).reshape(header.tensors[t.name].shape)
    return tensors


def _common(header: GgufHeader, get: Get) -> dict[str, Any]:
    """The arguments of a configuration that most architectures share."""
    width, heads = get("embedding_length"), get("attention.head_count")
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": get("rope.freq_base", 10000.0)}
    scaling = get("rope.scaling.type")
    if scaling in ("linear", "yarn"):
        rope |= {"rope_type": scaling, "factor": get("rope.scaling.factor")}
        if scaling == "yarn":
            rope["original_max_position_embeddings"] = get("rope.scaling.original_context_length")
    return {
        "vocab_size": header.tensors["token_embd.weight"].shape[0],
        "hidden_size": width,
        "intermediate_size": get("feed_forward_length"),
        "num_hidden_layers": get("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": get("attention.head_count_kv"),
        "head_dim": get("attention.key_length", width // heads),
        "max_position_embeddings": get("context_length"),
        "rms_norm_eps": get("attention.layer_norm_rms_epsilon"),
        "tie_word_embeddings": "output.weight" not in header.tensors,
        "rope_parameters": rope,
        "attn_implementation": "eager",
        "pad_token_id": None,
    }


def _gemma3(header: GgufHeader, get: Get, common: dict[str, Any]) -> dict[str, Any]:
    local = {"rope_type": "default", "rope_theta": get("rope.freq_base_swa", 10000.0)}
    return common | {
        "rope_parameters": {"full_attention": common["rope_parameters"], "sliding_attention": local},
        "sliding_window": get("attention.sliding_window"),
        "query_pre_attn_scalar": common["head_dim"],
        "final_logit_softcapping": get("final_logit_softcapping"),
    }


def _phi3(header: GgufHeader, get: Get, common: dict[str, Any]) -> dict[str, Any]:
    rope = common["rope_parameters"]
    rope["partial_rotary_factor"] = get("rope.dimension_count") / common.pop("head_dim")
    if "rope_factors_long.weight" in header.tensors:
        factors = dequantized(header)
        original = get("rope.scaling.original_context_length")
        rope |= {
            "rope_type": "longrope",
            "long_factor": factors["rope_factors_long.weight"].tolist(),
            "short_factor": factors["rope_factors_short.weight"].tolist(),
            "original_max_position_embeddings": original,
        }
        common["original_max_position_embeddings"] = original
    return common | {"sliding_window": get("attention.sliding_window")}


def _qwen3moe(header: GgufHeader, get: Get, common: dict[str, Any]) -> dict[str, Any]:
    return common | {
        "num_experts": get("expert_count"),
        "num_experts_per_tok": get("expert_used_count"),
        "moe_intermediate_size": get("expert_feed_forward_length"),
        "norm_topk_prob": True,
    }


def _mixtral(header: GgufHeader, get: Get, common: dict[str, Any]) -> dict[str, Any]:
    return common | {
        "num_local_experts": get("expert_count"),
        "num_experts_per_tok": get("expert_used_count"),
        "sliding_window": None,
    }


def _mistral3(header: GgufHeader, get: Get, common: dict[str, Any]) -> dict[str, Any]:
    common["rope_parameters"] |= {
        "mscale": 1.0,
        "mscale_all_dim": get("rope.scaling.yarn_log_multiplier"),
        "llama_4_scaling_beta": get("attention.temperature_scale"),
    }
    return common | {"sliding_window": None}


def _lfm2(header: GgufHeader, get: Get, common: dict[str, Any]) -> dict[str, Any]:
    heads = common.pop("num_key_value_heads")
    return common | {
        "num_key_value_heads": max(heads),
        "layer_types": ["full_attention" if count else "conv" for count in heads],
        "norm_eps": common.pop("rms_norm_eps"),
        "conv_L_cache": get("shortconv.l_cache"),
        "block_auto_adjust_ff_dim": False,
    }


@dataclass(frozen=True)
class Reference:
    """config: the class of the configuration; arguments: those that differ from `_common`.

    interleaved: the converter stores q and k with the halves of a head interleaved. norm_offset: it adds this to norms.
    """

    config: Any
    arguments: Callable[[GgufHeader, Get, dict[str, Any]], dict[str, Any]] = lambda header, get, common: common
    interleaved: bool = False
    norm_offset: float = 0.0


REFERENCES: dict[str, Reference] = {
    "gemma3": Reference(transformers.Gemma3TextConfig, _gemma3, norm_offset=1.0),
    "lfm2": Reference(transformers.Lfm2Config, _lfm2),
    "llama": Reference(transformers.LlamaConfig, interleaved=True),
    "mistral3": Reference(transformers.Ministral3Config, _mistral3, interleaved=True),
    "mixtral": Reference(transformers.MixtralConfig, _mixtral, interleaved=True),  # filed under "llama", with experts
    "phi3": Reference(transformers.Phi3Config, _phi3),
    "qwen2": Reference(transformers.Qwen2Config),
    "qwen3": Reference(transformers.Qwen3Config),
    "qwen3moe": Reference(transformers.Qwen3MoeConfig, _qwen3moe),
    "smollm3": Reference(transformers.SmolLM3Config, interleaved=True),
}


def llama3_rope(config: transformers.PretrainedConfig, factor: float, original: int) -> None:
    """Makes a Llama configuration one with Llama 3.1's scaling, which a GGUF records as a tensor only."""
    config.rope_parameters |= {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": original,
    }


def _deinterleave(x: torch.Tensor, heads: int) -> torch.Tensor:
    """Pairs (2i, 2i + 1) of each head back to (i, i + half)."""
    rows = x.shape[0] // heads
    return x.reshape(heads, rows // 2, 2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)


def _sources(name: str, names: gguf.TensorNameMap) -> list[str]:
    """The GGUF's names of a parameter of transformers; several are joined along their second dimension."""
    stem, _, last = name.rpartition(".experts.")
    if stem:
        index = name.split(".")[2]
        parts = {"gate_up_proj": ("gate", "up"), "down_proj": ("down",)}[last]
        return [f"blk.{index}.ffn_{part}_exps.weight" for part in parts]
    found = names.get_name(name, try_suffixes=(".weight", ".bias"))
    assert found is not None, f"the gguf package has no name for {name}"
    return [found]


def _state(header: GgufHeader, reference: Reference, model: torch.nn.Module) -> dict[str, torch.Tensor]:
    arch = str(header["general.architecture"])
    kind = next(kind for kind, name in gguf.MODEL_ARCH_NAMES.items() if name == arch)
    names = gguf.get_tensor_name_map(kind, model.config.num_hidden_layers)
    tensors = dequantized(header)
    tensors.setdefault("output.weight", tensors["token_embd.weight"])
    heads = {"attn_q": model.config.num_attention_heads, "attn_k": model.config.num_key_value_heads}
    state: dict[str, torch.Tensor] = {}
    used = {name for name in tensors if name.startswith("rope_")}
    for name, parameter in model.state_dict().items():
        sources = _sources(name, names)
        used.update(sources)
        tensor = torch.cat([tensors[source] for source in sources], dim=1 if len(sources) > 1 else 0)
        part = sources[0].split(".")[-2]
        if reference.interleaved and part in heads:
            tensor = _deinterleave(tensor, heads[part])
        if part.endswith("norm"):
            tensor = tensor - reference.norm_offset
        # A depthwise convolution has a dimension of 1 in torch alone.
        state[name] = tensor.unsqueeze(1) if parameter.dim() == 3 and tensor.dim() == 2 else tensor
    assert used == set(tensors), used ^ set(tensors)
    return state


def build(path: str | Path, llama3: tuple[float, int] | None = None) -> Any:
    """The transformers model of a GGUF in eval mode. llama3: (factor, original context) of `rope_freqs.weight`."""
    header = read_header(path)
    arch = str(header["general.architecture"])

    def get(key: str, default: Any = None) -> Any:
        return header.get(f"{arch}.{key}", default)

    reference = REFERENCES["mixtral" if arch == "llama" and get("expert_count") else arch]
    config = reference.config(**reference.arguments(header, get, _common(header, get)))
    if llama3:
        llama3_rope(config, *llama3)
    kind = transformers.AutoModelForCausalLM
    model = kind.from_config(config, dtype=torch.float32, attn_implementation="eager")
    model.load_state_dict(_state(header, reference, model))
    return model.eval()
