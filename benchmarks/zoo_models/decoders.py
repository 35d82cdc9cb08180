"""Decoders of Hugging Face without a cache: ids int64 [1, T] -> logits [1, T, V]; one export, T dynamic.

Real models here have the real width and heads, but two layers: every layer is alike. (With a cache: `tests/hf`, and
`export_gguf` for weights from a GGUF.)
"""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf
from torch.export import Dim

from .model import Inputs, Pick, ZooModel, dims

_TINY: dict[str, Any] = {
    "vocab_size": 100,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_LAYERS = {"num_hidden_layers": 2}


def _logits(model: Any) -> Any:
    return Pick(model, ("input_ids",), "logits", use_cache=False)


def _gpt2(tiny: bool) -> Any:
    small = {"vocab_size": 100, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
    return _logits(hf.GPT2LMHeadModel(hf.GPT2Config(**(small if tiny else {}))))


def _llama(tiny: bool) -> Any:
    real = {
        **_LAYERS,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    }
    return _logits(hf.LlamaForCausalLM(hf.LlamaConfig(**(_TINY if tiny else real))))


def _gemma3(tiny: bool) -> Any:
    small = {**_TINY, "num_hidden_layers": 3, "head_dim": 16, "sliding_window": 8}
    real = {
        "num_hidden_layers": 6,
        "hidden_size": 640,
        "intermediate_size": 2048,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "vocab_size": 262144,
        "sliding_window": 512,
    }
    layers = ["sliding_attention", "full_attention", "sliding_attention"] if tiny else None
    return _logits(hf.Gemma3ForCausalLM(hf.Gemma3TextConfig(**(small if tiny else real), layer_types=layers)))


def _phi3(tiny: bool) -> Any:
    return _logits(hf.Phi3ForCausalLM(hf.Phi3Config(**(_TINY if tiny else _LAYERS))))


def _qwen3(tiny: bool) -> Any:
    real = {
        **_LAYERS,
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
    }
    return _logits(hf.Qwen3ForCausalLM(hf.Qwen3Config(**({**_TINY, "head_dim": 16} if tiny else real))))


def _qwen3_moe(tiny: bool) -> Any:
    experts = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 24 if tiny else 768}
    real = {**_LAYERS, "hidden_size": 1024, "num_attention_heads": 16, "num_key_value_heads": 4, "head_dim": 64}
    config = hf.Qwen3MoeConfig(**({**_TINY, "head_dim": 16} if tiny else real), **experts)
    config._experts_implementation = "batched_mm"
    return _logits(hf.Qwen3MoeForCausalLM(config))


def _ids(tiny: bool, second: bool) -> Inputs:
    return (torch.randint(3, 100, (1, (9, 21)[second] if tiny else (32, 77)[second])),)


def _dynamic(tiny: bool) -> Any:
    return dims({1: Dim("t", min=2, max=96)})(tiny)


MODELS = [
    ZooModel("gpt2", _gpt2, _ids, _dynamic),
    ZooModel("llama", _llama, _ids, _dynamic),
    ZooModel("gemma3", _gemma3, _ids, _dynamic),
    ZooModel("phi3", _phi3, _ids, _dynamic),
    ZooModel("qwen3", _qwen3, _ids, _dynamic),
    ZooModel("qwen3_moe", _qwen3_moe, _ids, _dynamic),
]
