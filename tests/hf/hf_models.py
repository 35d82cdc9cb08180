"""Small Hugging Face decoders, exported as a user would export the real ones."""

from __future__ import annotations

import copy
from typing import Any

import torch
import transformers

VOCABULARY = 128
CACHE_ROWS = 48

_COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
# The size of a head is not hidden_size / num_attention_heads where the architecture lets it differ.
_WIDE = {**_COMMON, "head_dim": 32}


def qwen3() -> Any:
    config = transformers.Qwen3Config(
        **_WIDE, tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 1e6}
    )
    return transformers.Qwen3ForCausalLM(config)


def llama() -> Any:
    scaling = {
        "rope_type": "llama3",
        "rope_theta": 5e5,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**_WIDE, tie_word_embeddings=False, rope_parameters=scaling)
    )


def gemma3() -> Any:
    config = transformers.Gemma3TextConfig(
        **{**_WIDE, "num_hidden_layers": 3},
        sliding_window=8,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters={
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
        },
    )
    return transformers.Gemma3ForCausalLM(config)


def phi3() -> Any:
    return transformers.Phi3ForCausalLM(transformers.Phi3Config(**_COMMON))


def qwen2() -> Any:
    return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**_COMMON))


def smollm3() -> Any:
    return transformers.SmolLM3ForCausalLM(transformers.SmolLM3Config(**_COMMON))


MODELS = {f.__name__: f for f in (qwen3, llama, gemma3, phi3, qwen2, smollm3)}


def build(name: str) -> Any:
    """A model with random weights that are not all alike: norms and biases differ from their defaults too."""
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.2)
            else:
                parameter.mul_(3.0)
    return model


def export_static(model: Any, rows: int = CACHE_ROWS, *, strict: bool = True) -> torch.export.ExportedProgram:
    """forward(input_ids int64 [1, T], cache_position int64 [T]) -> logits [1, T, V]; T is dynamic, 1 .. rows - 1."""
    from transformers.integrations.executorch import TorchExportableModuleForDecoderOnlyLM

    model = copy.deepcopy(model)
    model.generation_config = transformers.GenerationConfig(
        use_cache=True,
        cache_implementation="static",
        max_length=rows,
        cache_config={"batch_size": 1, "max_cache_len": rows},
        bos_token_id=1,
        eos_token_id=2,
    )
    length = torch.export.Dim("seq", min=1, max=rows - 1)
    program: torch.export.ExportedProgram = TorchExportableModuleForDecoderOnlyLM(model).export(
        torch.zeros(1, 3, dtype=torch.long),
        cache_position=torch.arange(3),
        dynamic_shapes={"input_ids": {1: length}, "cache_position": {0: length}},
        strict=strict,
    )
    return program


def eager_logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """Logits [1, T, V] of a whole sequence, without a cache."""
    with torch.no_grad():
        return model(input_ids=ids, use_cache=False).logits  # type: ignore[no-any-return]
