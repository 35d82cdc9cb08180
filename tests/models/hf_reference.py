"""transformers' own model of each architecture with the weights of a GGUF: the independent reference.

The mapping undoes, from the documentation of the checkpoints, what the converter does: it stores Llama-like q and k
with the two halves of each head interleaved, and Gemma's norm weights plus one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
import transformers

from executorch_ggml.gguf.header import GgufHeader, read_header

_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_qkv": "self_attn.qkv_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_gate_inp": "mlp.gate",
}
_GEMMA = {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_INTERLEAVED = ("llama", "mistral3", "smollm3")


def dequantized(header: GgufHeader) -> dict[str, torch.Tensor]:
    tensors = {}
    for path in header.paths:
        for t in gguf.GGUFReader(path).tensors:
            data = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
            tensors[t.name] = torch.from_numpy(data).reshape(header.tensors[t.name].shape)
    return tensors


def _deinterleave(x: torch.Tensor, heads: int) -> torch.Tensor:
    """Pairs (2i, 2i + 1) of each head back to (i, i + half)."""
    rows = x.shape[0] // heads
    return x.reshape(heads, rows // 2, 2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)


def _config(header: GgufHeader) -> transformers.PretrainedConfig:
    arch = str(header["general.architecture"])

    def get(key: str, default: Any = None) -> Any:
        return header.get(f"{arch}.{key}", default)

    width, heads = get("embedding_length"), get("attention.head_count")
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": get("rope.freq_base", 10000.0)}
    scaling = get("rope.scaling.type")
    if scaling in ("linear", "yarn"):
        rope |= {"rope_type": scaling, "factor": get("rope.scaling.factor")}
        if scaling == "yarn":
            rope["original_max_position_embeddings"] = get("rope.scaling.original_context_length")
    common: dict[str, Any] = {
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
    if arch == "gemma3":
        common["rope_parameters"] = {
            "full_attention": rope,
            "sliding_attention": {"rope_type": "default", "rope_theta": get("rope.freq_base_swa", 10000.0)},
        }
        return transformers.Gemma3TextConfig(
            sliding_window=get("attention.sliding_window"),
            query_pre_attn_scalar=common["head_dim"],
            final_logit_softcapping=get("final_logit_softcapping"),
            **common,
        )
    if arch == "phi3":
        common.pop("head_dim")
        rot = get("rope.dimension_count")
        rope["partial_rotary_factor"] = rot / (width // heads)
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
        return transformers.Phi3Config(sliding_window=get("attention.sliding_window"), **common)
    if arch == "qwen3moe":
        return transformers.Qwen3MoeConfig(
            num_experts=get("expert_count"),
            num_experts_per_tok=get("expert_used_count"),
            moe_intermediate_size=get("expert_feed_forward_length"),
            norm_topk_prob=True,
            **common,
        )
    if arch == "llama" and get("expert_count"):
        return transformers.MixtralConfig(
            num_local_experts=get("expert_count"),
            num_experts_per_tok=get("expert_used_count"),
            sliding_window=None,
            **common,
        )
    if arch == "mistral3":
        rope |= {
            "mscale": 1.0,
            "mscale_all_dim": get("rope.scaling.yarn_log_multiplier"),
            "llama_4_scaling_beta": get("attention.temperature_scale"),
        }
        return transformers.Ministral3Config(sliding_window=None, **common)
    kinds = {
        "qwen3": transformers.Qwen3Config,
        "qwen2": transformers.Qwen2Config,
        "llama": transformers.LlamaConfig,
        "smollm3": transformers.SmolLM3Config,
    }
    return kinds[arch](**common)


def llama3_rope(config: transformers.PretrainedConfig, factor: float, original: int) -> None:
    """Makes a Llama configuration one with Llama 3.1's scaling, which a GGUF records as a tensor only."""
    config.rope_parameters |= {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": original,
    }


def _state(header: GgufHeader) -> dict[str, torch.Tensor]:
    arch = str(header["general.architecture"])
    tensors = dequantized(header)
    heads = {
        "attn_q": int(header[f"{arch}.attention.head_count"]),  # type: ignore[arg-type]
        "attn_k": int(header[f"{arch}.attention.head_count_kv"]),  # type: ignore[arg-type]
    }
    names = _LAYER | (_GEMMA if arch == "gemma3" else {}) | ({"ffn_up": "mlp.gate_up_proj"} if arch == "phi3" else {})
    mixtral = arch == "llama" and f"{arch}.expert_count" in header
    state: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if name.startswith("rope_"):
            continue
        if arch == "gemma3" and name.endswith("norm.weight"):
            tensor = tensor - 1.0
        stem, kind = name.rsplit(".", 1)
        if stem in ("token_embd", "output_norm", "output"):
            target = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}[stem]
        else:
            _, index, part = stem.split(".")
            if part in heads and arch in _INTERLEAVED:
                tensor = _deinterleave(tensor, heads[part])
            if part.endswith("_exps"):
                key = f"model.layers.{index}.mlp.experts."
                if part == "ffn_down_exps":
                    state[key + "down_proj"] = tensor
                elif part == "ffn_gate_exps":
                    state[key + "gate_up_proj"] = torch.cat((tensor, tensors[f"blk.{index}.ffn_up_exps.weight"]), dim=1)
                continue
            if mixtral and part == "ffn_gate_inp":
                state[f"model.layers.{index}.mlp.gate.weight"] = tensor
                continue
            target = f"model.layers.{index}.{names[part]}"
        state[f"{target}.{kind}"] = tensor
    state.setdefault("lm_head.weight", state["model.embed_tokens.weight"])
    return state


def build(path: str | Path, llama3: tuple[float, int] | None = None) -> Any:
    """The transformers model of a GGUF in eval mode. llama3: (factor, original context) of `rope_freqs.weight`."""
    header = read_header(path)
    config = _config(header)
    if llama3:
        llama3_rope(config, *llama3)
    kind = transformers.AutoModelForCausalLM
    model = kind.from_config(config, dtype=torch.float32, attn_implementation="eager")
    missing, unexpected = model.load_state_dict(_state(header), strict=False)
    assert not unexpected, unexpected
    assert not missing, missing
    return model.eval()
